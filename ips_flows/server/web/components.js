/** Components shared by the views: status, progress bar, error, confirmation, time. */

import { fresh, h, keyed, mark, say } from "./dom.js";
import { ago, moment, number } from "./format.js";
import { known, t } from "./i18n.js";

/** Show a task's status as colour, shape and word. A cancelled task that has not ended is `cancelling`. */
export function status(element, task) {
  element.className = `status ${task.status}`;
  const ending = task.status === "cancelled" && !task.finishedAt;
  say(element, ending ? t("status.cancelling") : known("status", task.status));
}

/** An empty progress bar; `bar` fills it. */
export const emptyBar = () =>
  h("div", { class: "bar", role: "progressbar", "aria-valuemin": 0, "aria-valuemax": 100 });

/** Show a task's progress: done, failed and pulling nodes out of all nodes. */
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
  // A task without nodes that has completed shows a full bar.
  element.classList.toggle("whole", !total && percentage === 100);
  mark(element, "aria-valuenow", percentage);
  mark(element, "aria-label", t("progress.label", { task: task.taskId }));
  mark(element, "aria-valuetext", progressText(task));
}

export const pullingNodes = (task) => (task.waves ?? []).reduce((sum, wave) => sum + wave.pullingNodes, 0);

/** A task's progress as text. */
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

/** Placeholder while data is loading. */
export const loading = () => h("p", { class: "loading", role: "status" }, t("loading"));

/** Link to a task's view. */
export const taskLink = (id) => `#/tasks/${encodeURIComponent(id)}`;

/** Show a time relative to now, with the full time as tooltip. */
export function when(element, stamp) {
  mark(element, "datetime", stamp);
  mark(element, "title", moment(stamp));
  say(element, ago(stamp));
}

/** An error with its hint and a button to try again. */
export function problem(title, error, again) {
  return h(
    "div",
    { class: "card problem", role: "alert" },
    h("h2", {}, title),
    h("p", {}, error.words),
    again && h("div", { class: "actions" }, h("button", { type: "button", onclick: again }, t("again"))),
  );
}

/** A section with a heading, which is also its accessible name. */
export function section(title, ...children) {
  return h("section", { class: "card", "aria-label": title }, h("h2", {}, title), ...children);
}

/** Ask for confirmation. Resolves to true if the user confirms. */
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

/** Show a notification for 8 seconds. Screen readers announce it. */
export function notify(text) {
  const place = document.getElementById("notices");
  const one = h("p", {}, text);
  place.replaceChildren(one);
  window.setTimeout(() => one.remove(), 8000);
}
