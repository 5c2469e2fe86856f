/** What several views show: a status, a bar, an error, a question, a time. */

import { fresh, h, keyed, mark, say } from "./dom.js";
import { ago, moment, number } from "./format.js";
import { known, t } from "./i18n.js";

/** A task's status as colour, form and word; one that is cancelled but has not ended is still being cancelled. */
export function status(element, task) {
  element.className = `status ${task.status}`;
  const ending = task.status === "cancelled" && !task.finishedAt;
  say(element, ending ? t("status.cancelling") : known("status", task.status));
}

/** An empty bar; `bar` fills it. */
export const emptyBar = () =>
  h("div", { class: "bar", role: "progressbar", "aria-valuemin": 0, "aria-valuemax": 100 });

/** Show how far a task is: what is done, what failed, what pulls, of all its nodes. */
export function bar(element, task) {
  const { totalNodes: total, completedNodes: done, failedNodes: failed, percentage } = task.progress;
  const pulling = task.status === "running" ? pullingNodes(task) : 0;
  const parts = [
    ["completed", done],
    ["failed", failed],
    ["pulling", pulling],
  ].filter(([, count]) => count > 0);
  keyed(
    element,
    total ? parts : [],
    ([name]) => name,
    ([name]) => h("span", { class: `part ${name}` }),
    (child, [, count]) => child.style.setProperty("width", `${(count / total) * 100}%`),
  );
  // An empty task that has nothing to do is whole, too.
  element.classList.toggle("whole", !total && percentage === 100);
  mark(element, "aria-valuenow", percentage);
  mark(element, "aria-label", t("progress.label", { task: task.taskId }));
  mark(element, "aria-valuetext", progressText(task));
}

export const pullingNodes = (task) => (task.waves ?? []).reduce((sum, wave) => sum + wave.pullingNodes, 0);

/** How far a task is, in words. */
export function progressText(task) {
  const { totalNodes: total, completedNodes: done, failedNodes: failed } = task.progress;
  if (task.status === "pending") {
    return task.queuePosition
      ? t("progress.queued", { n: number(task.queuePosition) })
      : t("progress.pending");
  }
  if (!total) return task.status === "running" ? t("progress.planning") : t("progress.unplanned");
  const words = [t("progress.nodes", { done: number(done), total: number(total), all: total })];
  if (failed) words.push(t("progress.failed", { n: number(failed) }));
  return words.join(t("comma"));
}

/** What stands where something is still asked for. */
export const loading = () => h("p", { class: "loading", role: "status" }, t("loading"));

/** The address of a task's view. */
export const taskLink = (id) => `#/tasks/${encodeURIComponent(id)}`;

/** A time that says how long ago it was, and when on hovering. */
export function when(element, stamp) {
  mark(element, "datetime", stamp);
  mark(element, "title", moment(stamp));
  say(element, ago(stamp));
}

/** An error that says what to do, and lets it be done again. */
export function problem(title, error, again) {
  return h(
    "div",
    { class: "card problem", role: "alert" },
    h("h2", {}, title),
    h("p", {}, error.words),
    again && h("div", { class: "actions" }, h("button", { type: "button", onclick: again }, t("again"))),
  );
}

/** A section, named as its heading. */
export function section(title, ...children) {
  return h("section", { class: "card", "aria-label": title }, h("h2", {}, title), ...children);
}

/** Ask before something that can't be undone. Resolves to whether it is meant. */
export function confirm(title, text, yes) {
  return new Promise((resolve) => {
    const id = fresh("question");
    const dialog = h(
      "dialog",
      { "aria-labelledby": id, onclose: closed },
      h(
        "form",
        { method: "dialog" },
        h("h2", { id }, title),
        h("p", {}, text),
        h(
          "div",
          { class: "actions" },
          h("button", { value: "no", autofocus: true }, t("dialog.no")),
          h("button", { value: "yes", class: "danger" }, yes),
        ),
      ),
    );
    function closed() {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    }
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Tell something that needs no answer, for a while; who reads by ear hears it. */
export function notify(text) {
  const place = document.getElementById("notices");
  const one = h("p", {}, text);
  place.replaceChildren(one);
  window.setTimeout(() => one.remove(), 8000);
}
