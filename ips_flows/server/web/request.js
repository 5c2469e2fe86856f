/** The request that the form's fields make. A pure module. */

import { SECTIONS } from "./request_fields.js";

/*
 * Of the kinds of fields `lines` are items one a line, `pairs` are key=value lines, `sizes` have commas between,
 * `size` is a number or a percentage. Whatever can't be read is sent as it was typed: the server says what is wrong
 * with it.
 */
const FIELDS = SECTIONS.flatMap((section) => section.fields);
const READERS = {
  lines,
  pairs,
  sizes,
  size,
  number,
  flag: (value) => value || undefined,
  text: (value) => value.trim() || undefined,
};

/** The request of what was typed: only what was filled in, so that the defaults are the server's. */
export function requestOf(typed) {
  const request = {};
  for (const [name, kind] of FIELDS) {
    const value = Array.isArray(kind) ? chosen(typed[name], kind) : READERS[kind](typed[name] ?? "");
    if (value !== undefined) request[name] = value;
  }
  request.images ??= [];
  return request;
}

/** Problems that the request can't carry to the server, such as duplicate keys: `{field, key, values}`. */
export function problemsOf(typed) {
  return FIELDS.filter(([, kind]) => kind === "pairs").flatMap(([name]) => {
    const seen = new Set();
    return (lines(typed[name] ?? "") ?? []).flatMap((line, index) => {
      const [key] = pair(line);
      const field = `${name}[${index}]`;
      if (!line.includes("=")) return [{ field, key: "wrong.pair", values: { line } }];
      if (seen.has(key)) return [{ field, key: "wrong.twice", values: { key } }];
      seen.add(key);
      return [];
    });
  });
}

/** The first part of a path such as `images[2]` or `nodeSelector.disk`, and the index where it has one. */
export function fieldOf(path) {
  const match = /^([A-Za-z]+)(?:\[(\d+)\])?/.exec(path ?? "");
  return match
    ? { name: match[1], index: match[2] === undefined ? null : Number(match[2]) }
    : { name: "", index: null };
}

function chosen(value, options) {
  return value === undefined || value === options[0] ? undefined : value;
}

function lines(value) {
  const found = value
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean);
  return found.length ? found : undefined;
}

function pairs(value) {
  const found = (lines(value) ?? []).map(pair);
  return found.length ? Object.fromEntries(found) : undefined;
}

function pair(line) {
  const at = line.indexOf("=");
  return at < 0 ? [line, ""] : [line.slice(0, at).trim(), line.slice(at + 1).trim()];
}

function sizes(value) {
  const found = value.split(/[,，\s]+/).filter(Boolean);
  return found.length ? found.map(size) : undefined;
}

function size(value) {
  const text = value.trim();
  return /^\d{1,9}$/.test(text) ? Number(text) : text || undefined;
}

function number(value) {
  const text = value.trim();
  return /^-?\d{1,9}(\.\d+)?$/.test(text) ? Number(text) : text || undefined;
}
