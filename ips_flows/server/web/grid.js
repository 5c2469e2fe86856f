/** The node × image grid: one row per node, one column per image. Only visible rows are in the DOM. */

import { pullingNodes } from "./components.js";
import { leftOut } from "./detail_sections.js";
import { fresh, h, keyed, mark, say } from "./dom.js";
import { bytes, number, seconds, shortDigest, shortImage } from "./format.js";
import { known, t } from "./i18n.js";
import { nodeHeatmap } from "./node_heatmap.js";
import { countsOf, isOver, kindOf, nodesOf } from "./results.js";

const ROW = 34; // pixels; the style sheet has the same
const BESIDE = 8; // rows kept above and below the visible ones
const GLANCE = 12; // the node map is shown from this number of nodes on
const KINDS = ["all", "failed", "pulled", "present", "skipped", "unknown", "left"];
const GLYPHS = { pulled: "✓", present: "●", failed: "✕", skipped: "–", unknown: "·" };

export function grid() {
  let nodes = [];
  let made = {}; // input of `nodes`, which are computed again only when it changes
  let shown = [];
  let images = [];
  let why = ""; // the text to show when there is no node
  let kind = "all";
  let active = { row: 0, column: 0 };
  const drawn = new WeakMap(); // the node and the index that each row shows
  const id = fresh("grid");

  const heatmap = nodeHeatmap(choose);
  const filters = h("div", { class: "filters", role: "group", "aria-label": t("grid.filters") });
  const search = h("input", {
    type: "search",
    placeholder: t("grid.search"),
    "aria-label": t("grid.search"),
    spellcheck: "false",
    autocomplete: "off",
    oninput: sift,
  });
  const head = h("div", { class: "row head", role: "row", "aria-rowindex": 1 });
  const body = h("div", { class: "rows", role: "rowgroup" });
  const table = h(
    "div",
    {
      class: "cells",
      role: "grid",
      tabindex: 0,
      "aria-label": t("grid.label"),
      "aria-describedby": `${id}-said`,
      onscroll: draw,
      onkeydown: key,
      onclick: click,
      onfocus: draw,
      onblur: draw,
    },
    h("div", { role: "rowgroup", class: "heads" }, head),
    body,
  );
  const nothing = h("p", { class: "empty", hidden: true });
  const told = h("p", { class: "inspector", id: `${id}-said`, role: "status" }, t("grid.hint"));
  const tools = h("div", { class: "tools" }, filters, search);
  const element = h("div", { class: "grid" }, heatmap.element, tools, table, nothing, told);
  const resized = new ResizeObserver(draw);
  resized.observe(table);

  function update(task) {
    if (task.nodeStatuses !== made.statuses || task.failedNodeDetails !== made.details) {
      made = { statuses: task.nodeStatuses, details: task.failedNodeDetails };
      nodes = nodesOf(task);
    }
    images = task.images;
    why = t(isOver(task) ? "grid.never" : task.status === "pending" ? "grid.pending" : "grid.none");
    const touched = nodes.filter((one) => !one.leftOut);
    heatmap.update(touched, restOf(task, touched));
    heatmap.element.hidden = task.progress.totalNodes < GLANCE;
    table.style.setProperty("--images", images.length);
    table.classList.toggle("many", images.length > 8);
    mark(table, "aria-colcount", images.length + 1);
    keyed(
      head,
      ["node", ...images.keys()],
      String,
      (one) => h("span", { role: "columnheader", class: one === "node" ? "name" : "image" }),
      (cell, one) => {
        const name = one === "node" ? t("grid.node") : images[one];
        say(cell, one === "node" ? name : shortImage(name));
        mark(cell, "title", name);
        mark(cell, "aria-label", name);
      },
    );
    sift();
  }

  function sift() {
    const counts = countsOf(nodes);
    if (kind !== "all" && !counts[kind]) kind = "all";
    keyed(
      filters,
      KINDS.filter((one) => one === "all" || counts[one]),
      (one) => one,
      (one) =>
        h("button", {
          type: "button",
          onclick: () => {
            kind = one;
            table.scrollTop = 0;
            active.row = 0;
            sift();
          },
        }),
      (button, one) => {
        const word = t(one === "all" || one === "left" ? `grid.${one}` : `result.${kindOf(one)}`);
        say(button, `${word} ${number(counts[one] ?? 0)}`);
        mark(button, "aria-pressed", kind === one ? "true" : "false");
      },
    );
    const text = search.value.trim().toLowerCase();
    shown = nodes.filter(
      (one) =>
        (kind === "left" ? one.leftOut : !one.leftOut && (kind === "all" || one.worst === kind)) &&
        one.node.toLowerCase().includes(text),
    );
    shown = [
      ...shown.filter((one) => one.worst === "failed"),
      ...shown.filter((one) => one.worst !== "failed"),
    ];
    active = {
      row: Math.min(active.row, Math.max(0, shown.length - 1)),
      column: Math.min(active.column, images.length),
    };
    table.hidden = shown.length === 0;
    nothing.hidden = shown.length > 0;
    say(nothing, nodes.length ? t("grid.nothing") : why);
    tools.hidden = nodes.length === 0;
    told.hidden = shown.length === 0;
    mark(table, "aria-rowcount", shown.length + 1);
    body.style.setProperty("height", `${shown.length * ROW}px`);
    draw();
  }

  function draw() {
    const first = Math.max(0, Math.floor(table.scrollTop / ROW) - BESIDE);
    const last = Math.min(shown.length, Math.ceil((table.scrollTop + table.clientHeight) / ROW) + BESIDE);
    const rows = shown.slice(first, last).map((one, index) => ({ one, index: first + index }));
    keyed(body, rows, ({ one }) => one.node, makeRow, updateRow);
    const focused = document.activeElement === table;
    const chosen = focused ? document.getElementById(cellId(active)) : null;
    for (const before of body.querySelectorAll(".active"))
      if (before !== chosen) before.classList.remove("active");
    chosen?.classList.add("active");
    mark(table, "aria-activedescendant", chosen?.id);
  }

  const cellId = ({ row, column }) => `${id}-${row}-${column}`;

  function makeRow() {
    return h("div", { class: "row", role: "row" }, h("span", { class: "name", role: "rowheader" }));
  }

  function updateRow(row, { one, index }) {
    const before = drawn.get(row);
    if (before?.one === one && before.index === index) return;
    drawn.set(row, { one, index });
    row.style.setProperty("top", `${index * ROW}px`);
    mark(row, "aria-rowindex", index + 2);
    const [name] = row.children;
    name.id = cellId({ row: index, column: 0 });
    say(name, one.node);
    mark(name, "title", one.node);
    while (row.children.length > one.cells.length + 1) row.lastChild.remove();
    one.cells.forEach((cell, at) => {
      const box =
        row.children[at + 1] ??
        row.appendChild(h("span", { role: "gridcell" }, h("i", { "aria-hidden": "true" }), h("span", {})));
      box.id = cellId({ row: index, column: at + 1 });
      const classes = `cell ${cell.result}${box.classList.contains("active") ? " active" : ""}`;
      if (box.className !== classes) box.className = classes;
      say(box.firstChild, GLYPHS[cell.result] ?? "?");
      say(box.lastChild, wordOf(cell));
      mark(box, "title", described(one.node, images[at], cell));
    });
  }

  function move(row, column) {
    active = {
      row: Math.max(0, Math.min(shown.length - 1, row)),
      column: Math.max(0, Math.min(images.length, column)),
    };
    const top = active.row * ROW;
    const view = table.clientHeight - ROW; // the head covers one row
    if (top < table.scrollTop) table.scrollTop = top;
    else if (top + ROW > table.scrollTop + view) table.scrollTop = top + ROW - view;
    draw();
    document.getElementById(cellId(active))?.scrollIntoView({ block: "nearest", inline: "nearest" });
    tell();
  }

  function tell() {
    const one = shown[active.row];
    if (!one) return;
    const cell = one.cells[active.column - 1];
    say(told, cell ? described(one.node, images[active.column - 1], cell) : one.node);
  }

  function key(event) {
    const page = Math.max(1, Math.floor(table.clientHeight / ROW) - 2);
    const { row, column } = active;
    const goals = {
      ArrowUp: [row - 1, column],
      ArrowDown: [row + 1, column],
      ArrowLeft: [row, column - 1],
      ArrowRight: [row, column + 1],
      PageUp: [row - page, column],
      PageDown: [row + page, column],
      Home: event.ctrlKey ? [0, 0] : [row, 0],
      End: event.ctrlKey ? [shown.length - 1, images.length] : [row, images.length],
    };
    if (!(event.key in goals)) return;
    event.preventDefault();
    move(...goals[event.key]);
  }

  function click(event) {
    const place = event.target.closest("[id]")?.id.match(/-(\d+)-(\d+)$/);
    if (place) move(Number(place[1]), Number(place[2]));
  }

  /** Show the row of a node; clear the filters if they hide it. */
  function choose(node) {
    if (!shown.some((one) => one.node === node)) {
      kind = "all";
      search.value = "";
      sift();
    }
    table.focus({ preventScroll: true });
    move(
      shown.findIndex((one) => one.node === node),
      1,
    );
  }

  return {
    element,
    update,
    stop() {
      resized.disconnect();
      heatmap.stop();
    },
  };
}

/** Number of done, pulling and waiting nodes that have no stored result yet. */
function restOf(task, told) {
  const left = Math.max(0, task.progress.totalNodes - told.length);
  const good = told.filter((one) => one.worst === "pulled" || one.worst === "present").length;
  const done = Math.min(left, Math.max(0, task.progress.completedNodes - good));
  const pulling = Math.min(left - done, pullingNodes(task));
  return { done, pulling, waiting: left - done - pulling };
}

function wordOf(cell) {
  if (cell.result === "pulled") return cell.seconds === null ? t("result.pulled") : seconds(cell.seconds);
  if (cell.result === "failed" || cell.result === "skipped") return known("reason", cell.reason ?? "Unknown");
  return t(`result.${kindOf(cell.result)}`);
}

function described(node, image, cell) {
  const parts = [`${node} × ${image}`];
  if (cell.result === "failed" || cell.result === "skipped")
    parts.push(`${t(`result.${cell.result}`)}${t("colon")}${known("reason", cell.reason ?? "Unknown")}`);
  else parts.push(t(`result.${kindOf(cell.result)}`));
  const why = cell.message || (cell.result === "skipped" && leftOut(cell.reason));
  if (why) parts.push(why);
  if (cell.result === "pulled")
    parts.push(t("grid.took", { time: seconds(cell.seconds), size: bytes(cell.bytes) }));
  if (cell.digest) parts.push(shortDigest(cell.digest));
  return parts.join(" · ");
}
