/** The view of one task: live state, grid, failures with advice, attempts, actions. */

import { ApiError, cancel, retry, task as whole } from "./api.js";
import {
  bar,
  confirm,
  emptyBar,
  loading,
  notify,
  problem,
  progressText,
  section,
  status,
  taskLink,
} from "./components.js";
import { drift, facts, failures, notice, retries, skipped, timeline, waves } from "./detail_sections.js";
import { fill, h, mark, say } from "./dom.js";
import { clock } from "./format.js";
import { grid } from "./grid.js";
import { t } from "./i18n.js";
import { isOver } from "./results.js";
import { statusTiles } from "./status_tiles.js";
import { follow } from "./stream.js";

const WHOLE_SECONDS = 3; // shortest pause between reads of the whole task, which cost more than the stream

export function detail(main, id, config) {
  let task = null;
  let stopped = false; // the view was closed or its task deleted: nothing is drawn any more
  let asked = 0; // time of the last read of the whole task
  let cost = 0;
  let timer = 0;
  let seen = new Date();
  let busy = false;
  let explained = "";

  const pill = h("span", {});
  const live = h("span", { class: "live", role: "status" });
  const buttons = h("div", { class: "actions" });
  const error = h("p", { class: "wrong", role: "alert", hidden: true });
  const message = h("p", { class: "message" });
  const progress = emptyBar();
  const told = h("p", { class: "told" });
  const figures = h("dl", { class: "figures" });
  const cells = grid();
  const slots = Object.fromEntries(
    ["waves", "failures", "retries", "drift", "timeline", "facts", "skipped", "notice"].map((name) => [
      name,
      h("div", { class: "slot", "data-of": name }),
    ]),
  );
  const state = h("div", { class: "card state" }, loading());
  const content = h(
    "div",
    { class: "detail", hidden: true },
    h("div", { class: "card lead" }, message, progress, told, figures),
    h(
      "div",
      { class: "columns" },
      h(
        "div",
        { class: "main" },
        slots.failures,
        slots.drift,
        section(t("grid.title"), cells.element),
        slots.waves,
        slots.retries,
      ),
      h("div", { class: "side" }, slots.timeline, slots.facts, slots.skipped, slots.notice),
    ),
  );
  main.append(
    h(
      "nav",
      { class: "crumbs", "aria-label": t("detail.crumbs") },
      h("a", { href: "#/tasks" }, `← ${t("title.tasks")}`),
    ),
    h(
      "div",
      { class: "headline" },
      h("h1", { class: "mono" }, id),
      pill,
      live,
      h("span", { class: "grow" }),
      buttons,
    ),
    error,
    state,
    content,
  );

  function show() {
    state.hidden = true;
    content.hidden = false;
    status(pill, task);
    say(message, task.message ?? "");
    message.hidden = !task.message;
    message.classList.toggle("bad", task.status === "failed");
    bar(progress, task);
    say(told, progressText(task));
    statusTiles(figures, task);
    cells.update(task);
    fill(slots.waves, waves(task));
    explain();
    fill(slots.retries, retries(task));
    fill(slots.drift, drift(task));
    fill(slots.timeline, timeline(task));
    fill(slots.facts, facts(task));
    fill(slots.skipped, skipped(task));
    fill(slots.notice, notice(task));
    actions();
  }

  /** Redraw the failures only if they changed, so that open details stay open. */
  function explain() {
    const key = JSON.stringify([task.failedNodeDetails, task.summary?.failures]);
    if (key === explained) return;
    explained = key;
    const slot = slots.failures;
    const open = new Set([...slot.querySelectorAll("details[open]")].map((one) => one.dataset.key));
    fill(slot, failures(task));
    for (const one of slot.querySelectorAll("details")) if (open.has(one.dataset.key)) one.open = true;
  }

  function actions() {
    if (stopped) return;
    const over = isOver(task);
    const good = task.status === "completed";
    const wanted = [
      config.argoUrl &&
        h("a", { class: "button", href: argoLink(), target: "_blank", rel: "noreferrer" }, t("detail.argo")),
      over &&
        (!good || task.progress.failedNodes > 0) &&
        h(
          "button",
          { type: "button", "data-does": "retry", class: good ? null : "primary", disabled: busy },
          t(task.progress.totalNodes ? "detail.retry" : "detail.anew"),
        ),
      !over &&
        task.status !== "cancelled" &&
        h(
          "button",
          { type: "button", "data-does": "cancel", class: "danger", disabled: busy },
          t("detail.cancel"),
        ),
    ];
    fill(buttons, ...wanted.filter(Boolean));
  }

  function argoLink() {
    const base = config.argoUrl.replace(/\/+$/, "");
    return `${base}/workflows/${encodeURIComponent(task.namespace)}/${encodeURIComponent(task.taskId)}`;
  }

  buttons.addEventListener("click", (event) => {
    const does = event.target.closest("button")?.dataset.does;
    if (does === "cancel") doCancel();
    if (does === "retry") doRetry();
  });

  async function doCancel() {
    if (!(await confirm(t("cancel.title", { task: id }), t("cancel.text"), t("cancel.yes")))) return;
    await attempt(async () => {
      take(await cancel(id));
      notify(t("cancel.done", { task: id }));
    });
  }

  async function doRetry() {
    await attempt(async () => {
      const made = await retry(id);
      notify(t("retry.done", { task: made.taskId }));
      window.location.hash = taskLink(made.taskId);
    });
  }

  /** Run the action of a button, one at a time. Show the server's message if it is refused. */
  async function attempt(does) {
    busy = true;
    error.hidden = true;
    actions();
    try {
      await does();
    } catch (problem) {
      if (!(problem instanceof ApiError)) throw problem;
      say(error, problem.words);
      error.hidden = false;
      refresh();
    } finally {
      busy = false;
      actions();
    }
  }

  /** Show a new state. The stream sends tasks without nodes; known nodes stay until the whole task is read. */
  function take(told) {
    if (stopped) return;
    const before = task;
    seen = new Date();
    task = told.nodeStatuses
      ? told
      : {
          ...told,
          nodeStatuses: before?.nodeStatuses,
          drift: before?.drift,
          failedNodeDetails: longer(before, told),
        };
    show();
    const changed =
      !before ||
      JSON.stringify([before.status, before.progress, before.finishedAt, before.retryHistory]) !==
        JSON.stringify([task.status, task.progress, task.finishedAt, task.retryHistory]);
    if (!told.nodeStatuses && (changed || !task.nodeStatuses)) later();
  }

  /** Keep the complete list of failures if the new one is cut to 20. */
  function longer(before, told) {
    const known = before?.failedNodeDetails ?? [];
    return told.failedNodeDetails.length < known.length && before.status === told.status
      ? known
      : told.failedNodeDetails;
  }

  /** Schedule a read of the whole task: immediately after the end, else with a pause that grows with its cost. */
  function later() {
    const pause = Math.max(WHOLE_SECONDS * 1000, cost * 10);
    const wait = isOver(task) ? 0 : Math.max(0, asked + pause - Date.now());
    window.clearTimeout(timer);
    timer = window.setTimeout(refresh, wait);
  }

  async function refresh() {
    window.clearTimeout(timer);
    asked = Date.now();
    try {
      const told = await whole(id);
      cost = Date.now() - asked;
      take(told);
    } catch (problem) {
      if (!(problem instanceof ApiError)) throw problem;
      if (!stopped && !task) failed(problem);
    }
  }

  function failed(problem_) {
    content.hidden = true;
    state.hidden = false;
    const gone = problem_.status === 404;
    state.replaceChildren(problem(t(gone ? "error.gone" : "error.task"), problem_, gone ? null : refresh));
    buttons.replaceChildren();
    pill.className = "";
    say(pill, "");
  }

  function connection(now) {
    live.className = `live ${{ live: "on", lost: "lost" }[now] ?? ""}`;
    say(live, now === "lost" ? t("live.lost", { at: clock(seen) }) : now === "live" ? t("live.live") : "");
    mark(live, "title", t(`live.${now}Hint`));
  }

  const stream = follow(id, {
    onTask: take,
    onState: connection,
    onError: (problem_) => {
      connection("over");
      failed(problem_);
      stopped = task !== null && problem_.status === 404;
    },
  });
  refresh();
  const tick = window.setInterval(() => task && !document.hidden && statusTiles(figures, task), 5000);
  return {
    stop() {
      stopped = true;
      window.clearTimeout(timer);
      window.clearInterval(tick);
      stream.stop();
      cells.stop();
    },
  };
}
