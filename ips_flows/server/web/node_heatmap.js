/** The node map: one tile per node on a canvas, coloured by the worst result of its images. */

import { fill, h, mark, say } from "./dom.js";
import { number } from "./format.js";
import { known, t } from "./i18n.js";
import { kindOf } from "./results.js";

const SIZES = [18, 14, 11, 8, 6, 4]; // tile sizes in pixels; the largest that fits all tiles is used
const HIGH = 360;
const KINDS = ["failed", "skipped", "pulled", "present", "pulling", "waiting", "done"];

/** The tiles. `onChoose(node)` is called on a click or on Enter. */
export function nodeHeatmap(onChoose) {
  const canvas = h("canvas", {
    class: "tiles",
    role: "img",
    tabindex: 0,
    onkeydown: key,
    onpointermove: hover,
    onpointerleave: leave,
    onclick: choose,
    onblur: leave,
    onfocus: () => point(at < 0 ? 0 : at),
  });
  const tip = h("div", { class: "tip", role: "status", hidden: true });
  const legend = h("ul", { class: "legend" });
  const caption = h("p", { class: "hint" }, t("heatmap.caption"));
  const element = h("div", { class: "heatmap" }, caption, h("div", { class: "frame" }, canvas, tip), legend);
  let tiles = [];
  let at = -1;
  let shape = { columns: 1, size: 16, pitch: 18 };

  const resized = new ResizeObserver(draw);
  resized.observe(element);
  const scheme = window.matchMedia("(prefers-color-scheme: dark)");
  scheme.addEventListener("change", draw);

  /** `rest` holds the number of done, pulling and waiting nodes that have no stored result yet. */
  function update(nodes, rest) {
    const nameless = ["done", "pulling", "waiting"].flatMap((kind) =>
      Array.from({ length: rest[kind] }, () => ({ kind })),
    );
    tiles = [...nodes.map((one) => ({ kind: kindOf(one.worst), node: one })), ...nameless];
    if (at >= tiles.length) leave();
    const counts = new Map();
    for (const { kind } of tiles) counts.set(kind, (counts.get(kind) ?? 0) + 1);
    const told = KINDS.filter((kind) => counts.has(kind)).map((kind) => ({
      kind,
      word: t(`result.${kind}`),
      count: number(counts.get(kind)),
    }));
    fill(
      legend,
      told.map(({ kind, word, count }) => h("li", { class: kind }, h("i", {}), `${word} `, h("b", {}, count))),
    );
    const all = told.map(({ word, count }) => `${word} ${count}`).join(t("comma"));
    mark(canvas, "aria-label", t("heatmap.label", { all }));
    draw();
  }

  function draw() {
    const width = element.clientWidth;
    if (!width || !tiles.length) return;
    const size = SIZES.find((one) => heightOf(one, width) <= HIGH) ?? SIZES.at(-1);
    const height = heightOf(size, width);
    shape = { columns: columnsOf(size, width), size, pitch: pitchOf(size) };
    const ratio = window.devicePixelRatio || 1;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    canvas.style.setProperty("height", `${height}px`);
    const brush = canvas.getContext("2d");
    brush.scale(ratio, ratio);
    const style = getComputedStyle(element);
    const colours = Object.fromEntries(
      KINDS.map((kind) => [kind, style.getPropertyValue(`--tile-${kind}`)]),
    );
    const ink = style.getPropertyValue("--tile-ink");
    tiles.forEach(({ kind }, index) => {
      const [x, y] = place(index);
      brush.fillStyle = colours[kind];
      brush.fillRect(x, y, size, size);
      // A failure is also marked by a shape, not by colour alone.
      if (kind === "failed" && size > 4) {
        brush.strokeStyle = ink;
        brush.lineWidth = size > 10 ? 1.5 : 1;
        brush.beginPath();
        brush.moveTo(x + size * 0.3, y + size * 0.3);
        brush.lineTo(x + size * 0.7, y + size * 0.7);
        brush.moveTo(x + size * 0.7, y + size * 0.3);
        brush.lineTo(x + size * 0.3, y + size * 0.7);
        brush.stroke();
      }
    });
    if (at >= 0) {
      const [x, y] = place(at);
      brush.strokeStyle = style.getPropertyValue("--text");
      brush.lineWidth = 2;
      brush.strokeRect(x + 1, y + 1, size - 2, size - 2);
    }
  }

  const pitchOf = (size) => size + (size < 8 ? 1 : 2);
  const columnsOf = (size, width) => Math.max(1, Math.floor((width + 2) / pitchOf(size)));
  const heightOf = (size, width) => Math.ceil(tiles.length / columnsOf(size, width)) * pitchOf(size);
  const place = (index) => [
    (index % shape.columns) * shape.pitch,
    Math.floor(index / shape.columns) * shape.pitch,
  ];

  function point(index) {
    if (index < 0 || index >= tiles.length) return;
    at = index;
    const { kind, node } = tiles[index];
    say(tip, node ? described(node) : t("heatmap.nameless", { result: t(`result.${kind}`) }));
    tip.hidden = false;
    const [x, y] = place(index);
    const left = Math.max(0, Math.min(x, element.clientWidth - tip.offsetWidth));
    tip.style.setProperty("left", `${left}px`);
    tip.style.setProperty("top", `${y + shape.size + 6}px`);
    draw();
  }

  function leave() {
    if (document.activeElement === canvas && at >= 0) return;
    at = -1;
    tip.hidden = true;
    draw();
  }

  function under(event) {
    const box = canvas.getBoundingClientRect();
    const column = Math.floor((event.clientX - box.left) / shape.pitch);
    return column < shape.columns
      ? Math.floor((event.clientY - box.top) / shape.pitch) * shape.columns + column
      : -1;
  }

  function hover(event) {
    const index = under(event);
    if (index !== at) point(index);
  }

  function choose(event) {
    const tile = tiles[under(event)];
    if (tile?.node) onChoose(tile.node.node);
  }

  function key(event) {
    const steps = {
      ArrowLeft: -1,
      ArrowRight: 1,
      ArrowUp: -shape.columns,
      ArrowDown: shape.columns,
      Home: -at,
      End: tiles.length - 1 - at,
    };
    if (event.key === "Enter" && tiles[at]?.node) onChoose(tiles[at].node.node);
    else if (event.key in steps) point(Math.max(0, Math.min(tiles.length - 1, at + steps[event.key])));
    else return;
    event.preventDefault();
  }

  return {
    element,
    update,
    stop() {
      resized.disconnect();
      scheme.removeEventListener("change", draw);
    },
  };
}

function described({ node, cells, worst }) {
  const bad = cells.filter((cell) => cell.result === "failed" || cell.result === "skipped");
  const why = [...new Set(bad.map((cell) => known("reason", cell.reason ?? "Unknown")))].join(t("comma"));
  const good = cells.filter((cell) => cell.result === "pulled" || cell.result === "present").length;
  const word = t(`result.${kindOf(worst)}`);
  const said = why ? `${word} (${why})` : word;
  return t("heatmap.node", { node, result: said, good: number(good), all: number(cells.length) });
}
