/** Format numbers, sizes and times for display. Unknown values are a dash, never 0. */

import { locale, t } from "./i18n.js";

const NONE = "–";

const FORMATTERS = new Map(); // cached: a formatter is slow to create

/** A formatter for the current locale. */
function formatter(kind, options = {}) {
  const key = JSON.stringify([kind, locale(), options]);
  if (!FORMATTERS.has(key)) FORMATTERS.set(key, new Intl[kind](locale(), options));
  return FORMATTERS.get(key);
}

export const number = (value) => formatter("NumberFormat").format(value);

export function bytes(value) {
  if (value === null || value === undefined) return NONE;
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  const power = value < 1000 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(value) / 3));
  const scaled = value / 1000 ** power;
  const digits = power && scaled < 10 ? 1 : 0;
  return `${formatter("NumberFormat", { maximumFractionDigits: digits }).format(scaled)} ${units[power]}`;
}

/** Format the duration of one pull; below 100 seconds with one decimal digit. */
export function seconds(value) {
  if (value === null || value === undefined) return NONE;
  if (value >= 100) return duration(value);
  return t("time.s", { s: formatter("NumberFormat", { maximumFractionDigits: 1 }).format(value) });
}

/** Format a duration in its two largest units. */
export function duration(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return NONE;
  const whole = Math.max(0, Math.round(value));
  const [d, hour, m, s] = [
    Math.floor(whole / 86400),
    Math.floor(whole / 3600) % 24,
    Math.floor(whole / 60) % 60,
    whole % 60,
  ];
  if (d) return t("time.dh", { d, h: hour });
  if (hour) return t("time.hm", { h: hour, m });
  if (m) return t("time.ms", { m, s });
  return t("time.s", { s });
}

/** Seconds between two timestamps; until now if the second is missing. */
export function between(from, to) {
  if (!from) return null;
  return ((to ? Date.parse(to) : Date.now()) - Date.parse(from)) / 1000;
}

/** Format a timestamp as date and time in the local time zone. */
export function moment(stamp) {
  if (!stamp) return NONE;
  return formatter("DateTimeFormat", {
    dateStyle: "medium",
    timeStyle: "medium",
    hourCycle: "h23",
  }).format(new Date(stamp));
}

/** Format a timestamp as time of day, with the date if it is not today. */
export function clock(stamp) {
  const at = new Date(stamp);
  const today = at.toDateString() === new Date().toDateString();
  return formatter("DateTimeFormat", {
    ...(today ? { timeStyle: "medium" } : { dateStyle: "short", timeStyle: "short" }),
    hourCycle: "h23",
  }).format(at);
}

/** Format a timestamp relative to now. */
export function ago(stamp) {
  if (!stamp) return NONE;
  const away = (Date.parse(stamp) - Date.now()) / 1000;
  const relative = formatter("RelativeTimeFormat", { numeric: "auto" });
  const size = Math.abs(away);
  if (size < 60) return relative.format(Math.round(away), "second");
  if (size < 3600) return relative.format(Math.round(away / 60), "minute");
  if (size < 86400) return relative.format(Math.round(away / 3600), "hour");
  return relative.format(Math.round(away / 86400), "day");
}

/** Shorten an image reference to its last path segment. A digest is cut to 8 characters. */
export function shortImage(reference) {
  const tail = reference.slice(reference.lastIndexOf("/") + 1);
  const at = tail.indexOf("@sha256:");
  return at < 0 ? tail : `${tail.slice(0, at)}@${tail.slice(at + 8, at + 16)}`;
}

/** Shorten a digest to fit on one line. */
export const shortDigest = (digest) => (digest ? digest.slice(0, 19) : NONE);
