/** The form for a new task. Errors from the server are shown at their fields. */

import { ApiError, create } from "./api.js";
import { notify, taskLink } from "./components.js";
import { h, mark, say } from "./dom.js";
import { has, t } from "./i18n.js";
import { fieldOf, problemsOf, requestOf } from "./request.js";
import { SECTIONS } from "./request_fields.js";

let draft = {}; // unsubmitted input, kept while another view is open

export function form(main) {
  const controls = new Map();
  const summary = h("div", { class: "summary", role: "alert", tabindex: "-1", hidden: true });
  const preview = h("code", {});
  const submit = h("button", { class: "primary" }, t("form.submit"));
  const element = h(
    "form",
    { class: "request", novalidate: true, onsubmit: send, oninput: changed },
    h("h1", {}, t("title.new")),
    summary,
    SECTIONS.map(group),
    h(
      "details",
      { class: "card preview" },
      h("summary", {}, t("form.preview")),
      h("p", { class: "hint" }, t("form.previewHint")),
      h("pre", { class: "command" }, preview),
    ),
    h(
      "div",
      { class: "actions" },
      submit,
      h("button", { type: "button", class: "quiet", onclick: reset }, t("form.reset")),
      h("a", { class: "button quiet", href: "#/tasks" }, t("form.back")),
    ),
  );
  main.append(element);
  changed();
  controls.get("images").control.focus();

  function group({ name, open, fields }) {
    const filled = fields.some(([field]) => field in requestOf(draft));
    const rows = h("div", { class: "fields" }, fields.map(row));
    const title = t(`form.${name}`);
    if (open) return h("fieldset", { class: "card" }, h("legend", {}, title), rows);
    return h(
      "details",
      { class: "card", open: filled },
      h("summary", {}, h("h2", {}, title), h("span", { class: "hint" }, t(`form.${name}Hint`))),
      rows,
    );
  }

  function row([name, kind, standard]) {
    const id = `field-${name}`;
    const hint = has(`hint.${name}`) ? h("p", { id: `${id}-hint`, class: "hint" }, t(`hint.${name}`)) : null;
    const wrong = h("p", { id: `${id}-wrong`, class: "wrong", hidden: true });
    const described = [hint && `${id}-hint`, `${id}-wrong`].filter(Boolean).join(" ");
    const control = make(kind, {
      id,
      name,
      "aria-describedby": described,
      "aria-required": name === "images" ? "true" : null,
      placeholder: standard ?? (has(`example.${name}`) ? t(`example.${name}`) : null),
    });
    controls.set(name, { control, wrong });
    const words = h("label", { for: id }, t(`field.${name}`), " ", h("code", {}, name));
    if (kind === "flag") return h("div", { class: `field flag ${name}` }, control, words, wrong, hint);
    return h(
      "div",
      { class: `field ${Array.isArray(kind) ? "choice" : kind} ${name}` },
      words,
      control,
      wrong,
      hint,
    );
  }

  function make(kind, attributes) {
    const value = draft[attributes.name];
    const plain = { autocomplete: "off", spellcheck: "false", autocapitalize: "off" };
    if (Array.isArray(kind)) {
      return h(
        "select",
        attributes,
        kind.map((one) =>
          h(
            "option",
            { value: one, selected: one === value },
            has(`option.${one}`) ? t(`option.${one}`) : one,
          ),
        ),
      );
    }
    if (kind === "flag") return h("input", { ...attributes, type: "checkbox", checked: Boolean(value) });
    if (kind === "lines" || kind === "pairs")
      return h(
        "textarea",
        { ...attributes, ...plain, rows: attributes.name === "images" ? 5 : 2 },
        value ?? "",
      );
    return h("input", {
      ...attributes,
      ...plain,
      type: "text",
      inputmode: kind === "number" ? "numeric" : null,
      value,
    });
  }

  function changed() {
    draft = Object.fromEntries(
      [...controls].map(([name, { control }]) => [
        name,
        control.type === "checkbox" ? control.checked : control.value,
      ]),
    );
    say(preview, JSON.stringify(requestOf(draft), null, 2));
  }

  function reset() {
    draft = {};
    for (const { control } of controls.values()) {
      if (control.type === "checkbox") control.checked = false;
      else if (control.tagName === "SELECT") control.selectedIndex = 0;
      else control.value = "";
    }
    clear();
    changed();
    controls.get("images").control.focus();
  }

  function clear() {
    summary.hidden = true;
    for (const { control, wrong } of controls.values()) {
      mark(control, "aria-invalid", null);
      wrong.hidden = true;
      wrong.replaceChildren();
    }
  }

  async function send(event) {
    event.preventDefault();
    clear();
    const own = problemsOf(draft).map(({ field, key, values }) => ({ field, message: t(key, values) }));
    if (own.length) {
      explain(new ApiError(400, "", { details: own }));
      return;
    }
    submit.disabled = true;
    try {
      const { task, created } = await create(requestOf(draft));
      draft = {};
      notify(t(created ? "form.created" : "form.unchanged", { task: task.taskId }));
      window.location.hash = taskLink(task.taskId);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      explain(error);
    } finally {
      submit.disabled = false;
    }
  }

  /** Show each problem at its field; above the form show a summary and the problems without a field. */
  function explain(error) {
    const details =
      error.status === 409 && !error.details.length
        ? [{ field: "name", message: error.words }]
        : error.details;
    const loose = [];
    let first = null;
    for (const { field, message } of details) {
      const { name, index } = fieldOf(field);
      const found = controls.get(name);
      if (!found) {
        loose.push(field ? `${field}: ${message}` : message);
        continue;
      }
      mark(found.control, "aria-invalid", "true");
      const prefix =
        index === null || found.control.tagName !== "TEXTAREA"
          ? ""
          : t("form.line", { n: lineOf(found.control.value, index) });
      found.wrong.append(h("span", {}, prefix + message));
      found.wrong.hidden = false;
      const folded = found.control.closest("details");
      if (folded) folded.open = true;
      if (!first || found.control.compareDocumentPosition(first) & Node.DOCUMENT_POSITION_FOLLOWING)
        first = found.control;
    }
    const here = details.length - loose.length;
    const title = here ? t("form.wrong", { n: here }) : error.words;
    summary.replaceChildren(
      h("p", {}, title),
      ...loose.filter((text) => text !== title).map((text) => h("p", {}, text)),
    );
    summary.hidden = false;
    (first ?? summary).focus();
  }

  return { stop() {} };
}

/** The line number of an item, from 1. Empty lines are not items. */
function lineOf(text, index) {
  const filled = text.split("\n").flatMap((line, at) => (line.trim() ? [at + 1] : []));
  return filled[index] ?? index + 1;
}
