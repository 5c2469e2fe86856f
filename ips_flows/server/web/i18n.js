/** The words of the page, in the language that the browser asks for or the user has chosen. */

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
  if (text === undefined) throw new Error(`no words for ${key}`);
  return typeof text === "function" ? text(values) : text;
}

/** The text for a key that may be one of a newer server; then the word itself. */
export function known(prefix, word) {
  return `${prefix}.${word}` in WORDS.en ? t(`${prefix}.${word}`) : word;
}

/** Whether there are words for a key. */
export const has = (key) => key in WORDS.en;

/** `en` or `zh`. */
export const lang = () => current;

/** The locale for numbers and times: the reader's own kind of the language, where the browser names one. */
export const locale = () =>
  navigator.languages.find((one) => one.toLowerCase().split("-")[0] === current) ?? LOCALES[current];

/** Choose a language and remember it. */
export function choose(short) {
  current = short;
  keepLanguage(short);
}
