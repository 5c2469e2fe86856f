/** The task list: live progress, status filter, search, pages. The URL hash holds the filter. */

import { ApiError, tasks } from "./api.js";
import { bar, emptyBar, loading, problem, progressText, status, taskLink, when } from "./components.js";
import { fill, h, keyed, mark, say } from "./dom.js";
import { between, clock, duration, number, shortImage } from "./format.js";
import { t } from "./i18n.js";
import { poll } from "./poll.js";

const STATUSES = ["pending", "running", "completed", "failed", "cancelled"];
const SIZES = [20, 50, 100];
const SECONDS = 2.5;
const TYPING = 250; // milliseconds without a keystroke before a search starts

export function list(main, query) {
  let chosen = read(query);
  let answered = null; // time of the last successful response
  let typing = 0;

  const search = h("input", {
    type: "search",
    id: "search",
    placeholder: t("list.search"),
    "aria-label": t("list.search"),
    "aria-keyshortcuts": "/",
    spellcheck: "false",
    autocomplete: "off",
    oninput: () => {
      window.clearTimeout(typing);
      typing = window.setTimeout(() => go({ search: search.value.trim(), page: 1 }, true), TYPING);
    },
  });
  const filters = h("nav", { class: "filters", "aria-label": t("list.filters") });
  const stale = h("p", { class: "stale", role: "status", hidden: true });
  const body = h("tbody", { role: "rowgroup" });
  const heads = ["status", "task", "progress", "priority", "created", "duration"];
  const table = h(
    "table",
    { class: "tasks", role: "table", "aria-label": t("title.tasks"), hidden: true },
    h(
      "thead",
      { role: "rowgroup" },
      h(
        "tr",
        { role: "row" },
        heads.map((key) => h("th", { role: "columnheader", scope: "col", class: key }, t(`column.${key}`))),
      ),
    ),
    body,
  );
  const state = h("div", { class: "state" }, loading());
  const count = h("p", { class: "count", role: "status" });
  const pages = h("nav", { class: "pages", "aria-label": t("list.pages") });
  const size = h(
    "select",
    { id: "size", onchange: () => go({ size: Number(size.value), page: 1 }) },
    SIZES.map((one) => h("option", { value: one }, String(one))),
  );
  const foot = h(
    "div",
    { class: "foot", hidden: true },
    count,
    pages,
    h("label", { class: "perpage", for: "size" }, t("list.size"), size),
  );
  main.append(
    h(
      "div",
      { class: "headline" },
      h("h1", {}, t("title.tasks")),
      h("a", { class: "button primary", href: "#/new" }, t("head.new")),
    ),
    h("div", { class: "tools" }, filters, search),
    stale,
    h("div", { class: "card flush" }, table, state),
    foot,
  );

  function go(changes, quietly = false) {
    const next = { ...chosen, ...changes };
    const hash = write(next);
    if (hash === window.location.hash) return;
    if (quietly) {
      window.history.replaceState(null, "", hash);
      adopt(next);
    } else window.location.hash = hash;
  }

  function adopt(next) {
    chosen = next;
    controls();
    asking.now();
  }

  function controls() {
    if (document.activeElement !== search) search.value = chosen.search;
    size.value = String(chosen.size);
    keyed(
      filters,
      ["", ...STATUSES],
      (one) => one || "all",
      () => h("a", {}),
      (link, one) => {
        link.href = write({ ...chosen, status: one, page: 1 });
        mark(link, "aria-current", chosen.status === one ? "true" : null);
        say(link, t(one ? `status.${one}` : "list.all"));
      },
    );
  }

  async function ask(signal) {
    const asked = chosen;
    try {
      const answer = await tasks(
        {
          status: asked.status,
          search: asked.search,
          limit: asked.size,
          offset: (asked.page - 1) * asked.size,
        },
        signal,
      );
      answered = new Date();
      stale.hidden = true;
      show(answer, asked);
      return true;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      missing(error);
      return false;
    }
  }

  function show({ tasks: rows, total }, asked) {
    const last = Math.max(1, Math.ceil(total / asked.size));
    if (asked.page > last) {
      go({ page: last }, true);
      return;
    }
    keyed(body, rows, (task) => task.uid, makeRow, updateRow);
    table.hidden = rows.length === 0;
    state.hidden = rows.length > 0;
    if (!rows.length) fill(state, asked.status || asked.search ? nothingFits() : nothingYet());
    foot.hidden = rows.length === 0;
    const from = (asked.page - 1) * asked.size + 1;
    say(
      count,
      t("list.range", { from: number(from), to: number(from + rows.length - 1), total: number(total) }),
    );
    const step = (page, key, rel) =>
      page >= 1 && page <= last
        ? h("a", { class: "button", rel, href: write({ ...asked, page }) }, t(key))
        : h("span", { class: "button off", "aria-hidden": "true" }, t(key));
    fill(pages, step(asked.page - 1, "list.previous", "prev"), step(asked.page + 1, "list.next", "next"));
  }

  /** Keep showing the last data with its time. Without data, show the error. */
  function missing(error) {
    if (answered && error.status !== 400) {
      say(stale, t("list.stale", { at: clock(answered), why: error.message }));
      stale.hidden = false;
      return;
    }
    table.hidden = true;
    foot.hidden = true;
    state.hidden = false;
    state.replaceChildren(problem(t("error.list"), error, () => asking.now()));
  }

  function slash(event) {
    const writes = event.target.closest("input, textarea, select, dialog");
    if (event.key !== "/" || writes || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    search.focus();
  }

  document.addEventListener("keydown", slash);
  controls();
  const asking = poll(SECONDS, ask);
  return {
    update: (asked) => adopt(read(asked)),
    stop() {
      window.clearTimeout(typing);
      document.removeEventListener("keydown", slash);
      asking.stop();
    },
  };
}

function read(query) {
  const status = query.get("status") ?? "";
  const size = Number(query.get("size"));
  return {
    status: STATUSES.includes(status) ? status : "",
    search: query.get("q") ?? "",
    page: Math.max(1, Math.trunc(Number(query.get("page"))) || 1),
    size: SIZES.includes(size) ? size : SIZES[0],
  };
}

function write({ status, search, page, size }) {
  const query = new URLSearchParams();
  if (status) query.set("status", status);
  if (search) query.set("q", search);
  if (page > 1) query.set("page", page);
  if (size !== SIZES[0]) query.set("size", size);
  return query.size ? `#/tasks?${query}` : "#/tasks";
}

function makeRow() {
  const cell = (name, ...children) =>
    h("td", { role: "cell", class: name, "data-label": t(`column.${name}`) }, ...children);
  const row = h(
    "tr",
    { role: "row" },
    cell("status", h("span", {})),
    cell("task", h("a", {}), h("span", { class: "images" })),
    cell("progress", emptyBar(), h("span", { class: "told" })),
    cell("priority", h("span", {})),
    cell("created", h("time", {})),
    cell("duration", h("span", {})),
  );
  return row;
}

function updateRow(row, task) {
  const at = (selector) => row.querySelector(selector);
  status(at(".status span"), task);
  const link = at(".task a");
  mark(link, "href", taskLink(task.taskId));
  say(link, task.taskId);
  const images = at(".images");
  say(images, imagesText(task.images));
  mark(images, "title", task.images.join("\n"));
  bar(at(".bar"), task);
  say(at(".told"), progressText(task));
  say(at(".priority span"), number(task.priority));
  when(at("time"), task.createdAt);
  say(at(".duration span"), duration(between(task.startedAt, task.finishedAt)));
}

function imagesText(images) {
  const shown = images.slice(0, 2).map(shortImage).join(t("comma"));
  return images.length > 2 ? t("list.more", { shown, n: images.length - 2 }) : shown;
}

function nothingFits() {
  return h(
    "div",
    { class: "empty" },
    h("p", {}, t("list.nothing")),
    h("a", { class: "button", href: "#/tasks" }, t("list.clear")),
  );
}

function nothingYet() {
  return h(
    "div",
    { class: "empty" },
    h("h2", {}, t("list.none")),
    h("p", {}, t("list.first")),
    h("a", { class: "button primary", href: "#/new" }, t("head.new")),
    h("pre", { class: "command" }, "ips-flow run --image busybox:1.37"),
  );
}
