/** Texts of the page, in the language that the user has chosen or the browser prefers. */

import en from "./locales/en.js";
import zh from "./locales/zh.js";
import { keepLanguage, language } from "./storage.js";

const WORDS = { en, zh };
const LOCALES = { en: "en", zh: "zh-CN" };

let current = chosen();

function chosen() {
  const wanted = [language(), ...navigator.languages].filter(Boolean);
  for (const one of wanted) {
    const short = one.toLowerCase().split("-")[0];
    if (short in WORDS) return short;
  }
  return "en";
}

/** The text for a key; a text that depends on values is a function of them. */
export function t(key, values = {}) {
  const text = WORDS[current][key] ?? WORDS.en[key];
  if (text === undefined) throw new Error(`no text for the key ${key}`);
  return typeof text === "function" ? text(values) : text;
}

/** The text for a value of the API. A value without a text, as of a newer server, is shown as it is. */
export function known(prefix, word) {
  return `${prefix}.${word}` in WORDS.en ? t(`${prefix}.${word}`) : word;
}

/** Returns whether a key has a text. */
export const has = (key) => key in WORDS.en;

/** `en` or `zh`. */
export const lang = () => current;

/** The locale for numbers and times: the browser's regional variant of the language, if it lists one. */
export const locale = () =>
  navigator.languages.find((one) => one.toLowerCase().split("-")[0] === current) ?? LOCALES[current];

/** Choose a language and remember it. */
export function choose(short) {
  current = short;
  keepLanguage(short);
}
