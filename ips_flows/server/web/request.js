/** Build the request from the fields of the form. A pure module. */

import { SECTIONS } from "./request_fields.js";

/*
 * Kinds of fields: `lines` is one item per line, `pairs` is key=value lines, `sizes` is a comma-separated list,
 * `size` is a number or a percentage. A value that can't be parsed is sent as typed: the server returns the error.
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

/** Build the request from the fields that are filled in. The others get the server's defaults. */
export function requestOf(typed) {
  const request = {};
  for (const [name, kind] of FIELDS) {
    const value = Array.isArray(kind) ? chosen(typed[name], kind) : READERS[kind](typed[name] ?? "");
    if (value !== undefined) request[name] = value;
  }
  request.images ??= [];
  return request;
}

/** Problems that JSON would hide from the server, such as duplicate keys: `{field, key, values}`. */
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

/** The field name and the index, if any, of a path such as `images[2]` or `nodeSelector.disk`. */
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
