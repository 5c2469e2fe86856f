// Render openapi.json. Every text is inserted as text, never as markup.
"use strict";

const METHODS = ["get", "post", "put", "patch", "delete"];

function make(tag, properties, ...children) {
  const element = document.createElement(tag);
  Object.assign(element, properties);
  element.append(...children);
  return element;
}

// Render a sentence; text between backticks becomes <code>.
function prose(text) {
  return text.split("`").map((part, at) => (at % 2 ? make("code", { textContent: part }) : part));
}

function nameOf(ref) {
  return ref.split("/").pop();
}

// Describe a schema in a few words, with links to the schemas that it refers to.
function words(schema) {
  if (!schema) return [""];
  if (schema.$ref) {
    const name = nameOf(schema.$ref);
    return [make("a", { href: `#shape-${name}`, textContent: name })];
  }
  const branches = schema.anyOf || schema.oneOf;
  if (branches) return branches.flatMap((one, at) => (at ? [" or ", ...words(one)] : words(one)));
  if (schema.const !== undefined) return [JSON.stringify(schema.const)];
  if (schema.enum) return [schema.enum.map((one) => JSON.stringify(one)).join(", ")];
  if (schema.type === "array") return ["list of ", ...words(schema.items)];
  if (schema.type === "object" && typeof schema.additionalProperties === "object") {
    return ["map of string to ", ...words(schema.additionalProperties)];
  }
  return [schema.type || "any"];
}

function bounds(schema) {
  const told = [];
  if (schema.minimum !== undefined) told.push(`from ${schema.minimum}`);
  if (schema.maximum !== undefined) told.push(`to ${schema.maximum}`);
  if (schema.default !== undefined) told.push(`default ${JSON.stringify(schema.default)}`);
  return told.join(", ");
}

function table(head, rows) {
  const line = (cells, tag) => make("tr", {}, ...cells.map((cell) => make(tag, {}, ...[].concat(cell))));
  return make("table", {}, make("thead", {}, line(head, "th")), make("tbody", {}, ...rows.map((row) => line(row, "td"))));
}

function parameters(list) {
  return table(
    ["parameter", "in", "type", ""],
    list.map((one) => [make("code", { textContent: one.name }), one.in, words(one.schema), bounds(one.schema)]),
  );
}

function responses(found) {
  return table(
    ["status", "meaning", "body"],
    Object.entries(found).map(([status, one]) => {
      const [kind, content] = Object.entries(one.content || {})[0] || ["", {}];
      return [status, prose(one.description), content.schema && content.schema.$ref ? words(content.schema) : kind];
    }),
  );
}

function operation(path, method, one, shared) {
  const body = make("div", {});
  if (one.description) body.append(make("p", {}, ...prose(one.description)));
  const list = [...shared, ...(one.parameters || [])];
  if (list.length) body.append(parameters(list));
  if (one.requestBody) {
    const content = one.requestBody.content["application/json"];
    body.append(make("p", {}, "Body: ", ...words(content.schema)));
    body.append(make("pre", { textContent: JSON.stringify(content.example, null, 2) }));
  }
  body.append(responses(one.responses));
  const head = make(
    "summary",
    {},
    make("span", { className: "method", textContent: method.toUpperCase() }),
    make("code", { textContent: path }),
    make("span", { className: "what", textContent: one.summary || "" }),
  );
  return make("details", { open: path.startsWith("/api/") }, head, body);
}

function shape(name, schema) {
  const body = make("div", {});
  if (schema.description) body.append(make("p", {}, ...prose(schema.description)));
  const whole = (schema.anyOf || []).find((one) => one.properties) || schema;
  const required = new Set(whole.required || []);
  const rows = Object.entries(whole.properties || {}).map(([field, one]) => [
    make("code", { textContent: field }),
    words(one),
    prose([required.has(field) ? "required" : "", one.description || "", bounds(one)].filter(Boolean).join("; ")),
  ]);
  body.append(rows.length ? table(["field", "type", ""], rows) : make("p", {}, ...words(schema)));
  return make("details", { id: `shape-${name}` }, make("summary", {}, make("code", { textContent: name })), body);
}

function openTarget() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target && target.tagName === "DETAILS") target.open = true;
}

async function main() {
  const about = document.getElementById("about");
  const answer = await fetch("openapi.json");
  if (!answer.ok) {
    about.textContent = `can't load openapi.json: HTTP ${answer.status}; reload the page`;
    return;
  }
  const api = await answer.json();
  about.replaceChildren(
    `${api.info.description} Version ${api.info.version}. `,
    make("a", { href: "openapi.json", textContent: "openapi.json" }),
  );
  const operations = document.getElementById("operations");
  for (const [path, found] of Object.entries(api.paths)) {
    for (const method of METHODS) {
      if (found[method]) operations.append(operation(path, method, found[method], found.parameters || []));
    }
  }
  const shapes = document.getElementById("shapes");
  for (const [name, schema] of Object.entries(api.components.schemas)) shapes.append(shape(name, schema));
  openTarget();
  addEventListener("hashchange", openTarget);
}

main();
