/** Read-only sections of a task's view. Each function returns a section, or null if there is nothing to show. */

import { section } from "./components.js";
import { h } from "./dom.js";
import { between, clock, duration, moment, number } from "./format.js";
import { has, known, t } from "./i18n.js";
import { failuresOf, isOver } from "./results.js";

const MOST_NODES = 50; // node names per message
const MOST_MESSAGES = 20;

const table = (caption, heads, rows) =>
  h(
    "div",
    { class: "scroll", role: "region", tabindex: 0, "aria-label": caption },
    h(
      "table",
      {},
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          heads.map((key) => h("th", { scope: "col" }, t(key))),
        ),
      ),
      h(
        "tbody",
        {},
        rows.map((cells) =>
          h(
            "tr",
            {},
            cells.map((cell) => h("td", {}, cell)),
          ),
        ),
      ),
    ),
  );

const stamp = (value) => (value ? h("time", { datetime: value, title: moment(value) }, clock(value)) : "–");

/** Reasons with counts and explanations. */
function reasons(counts) {
  return h(
    "ul",
    { class: "reasons" },
    Object.entries(counts).map(([reason, count]) =>
      h(
        "li",
        {},
        h("b", {}, number(count)),
        h("span", {}, known("reason", reason), reason !== known("reason", reason) && h("code", {}, reason)),
        leftOut(reason) && h("p", { class: "hint" }, leftOut(reason)),
      ),
    ),
  );
}

/** The explanation why nodes were left out or not started; '' if there is no text for the reason. */
export function leftOut(reason) {
  const key = [`left.${reason}`, `advice.${reason}`].find(has);
  return key ? t(key) : "";
}

/** The waves, if there are several or the task runs. */
export function waves(task) {
  if (!task.waves?.length || (task.waves.length === 1 && task.status !== "running")) return null;
  const rows = task.waves.map((wave) => [
    wave.name,
    number(wave.nodes),
    number(wave.completedNodes),
    number(wave.pullingNodes),
    number(wave.failedNodes),
  ]);
  return section(
    t("waves.title"),
    table(
      t("waves.title"),
      ["waves.name", "waves.nodes", "waves.done", "waves.pulling", "waves.failed"],
      rows,
    ),
  );
}

/** Failures by class, with advice, messages and nodes. */
export function failures(task) {
  const classes = failuresOf(task);
  if (!classes.length) return null;
  return section(
    t("failures.title"),
    classes.map((one, index) =>
      h(
        "details",
        { class: "failure", "data-key": one.reason, open: index === 0 },
        h(
          "summary",
          {},
          h("b", {}, known("reason", one.reason)),
          h("code", {}, one.reason),
          h(
            "span",
            { class: "count" },
            one.nodes
              ? t("failures.count", { n: one.count, count: number(one.count), nodes: number(one.nodes) })
              : t("failures.images", { n: one.count, count: number(one.count) }),
          ),
        ),
        has(`advice.${one.reason}`) && h("p", { class: "advice" }, t(`advice.${one.reason}`)),
        one.messages.slice(0, MOST_MESSAGES).map(({ image, message, nodes }) =>
          h(
            "div",
            { class: "case" },
            h("p", { class: "mono" }, image),
            message && h("blockquote", {}, message),
            h(
              "p",
              { class: "nodes" },
              t("failures.on", { n: nodes.length, count: number(nodes.length) }),
              h(
                "span",
                { class: "mono" },
                nodes.slice(0, MOST_NODES).map((node) => [h("span", {}, node), " "]),
                nodes.length > MOST_NODES ? `… +${number(nodes.length - MOST_NODES)}` : "",
              ),
            ),
          ),
        ),
        one.messages.length > MOST_MESSAGES &&
          h(
            "p",
            { class: "hint" },
            t("failures.more", {
              n: one.messages.length - MOST_MESSAGES,
              count: number(one.messages.length - MOST_MESSAGES),
            }),
          ),
      ),
    ),
  );
}

/** The result of each attempt, and the time of the next one. */
export function retries(task) {
  if (!task.retryHistory?.length && !task.nextRetryAt) return null;
  const rows = (task.retryHistory ?? []).map((one) => [
    one.wave,
    number(one.attempt),
    stamp(one.startedAt),
    duration(one.finishedAt ? between(one.startedAt, one.finishedAt) : null),
    number(one.nodes),
    number(one.failedNodes),
    Object.entries(one.failures)
      .map(([reason, count]) => `${known("reason", reason)} ×${number(count)}`)
      .join(t("comma")) || "–",
    one.nextDelaySeconds === null ? "–" : duration(one.nextDelaySeconds),
  ]);
  const heads = [
    "retries.wave",
    "retries.attempt",
    "retries.started",
    "retries.took",
    "retries.nodes",
    "retries.failed",
    "retries.classes",
    "retries.pause",
  ];
  return section(
    t("retries.title"),
    task.nextRetryAt && h("p", {}, t("retries.next", { at: clock(task.nextRetryAt) })),
    rows.length ? table(t("retries.title"), heads, rows) : null,
  );
}

/** Image references that resolve to different digests on different nodes. */
export function drift(task) {
  const found = Object.entries(task.drift ?? {});
  if (!found.length) return null;
  return section(
    t("drift.title"),
    h("p", { class: "advice" }, t("drift.advice")),
    found.map(([image, digests]) =>
      h(
        "div",
        { class: "case" },
        h("p", { class: "mono" }, image),
        h(
          "ul",
          {},
          digests.map((digest) => h("li", { class: "mono" }, digest)),
        ),
      ),
    ),
  );
}

/** The timeline of the task. */
export function timeline(task) {
  const steps = [["created", task.createdAt]];
  if (task.startedAt) steps.push(["started", task.startedAt]);
  for (const one of task.retryHistory ?? []) {
    if (one.attempt > 1 && one.startedAt)
      steps.push(["attempt", one.startedAt, { wave: one.wave, n: one.attempt }]);
  }
  if (task.nextRetryAt) steps.push(["retry", task.nextRetryAt]);
  if (task.estimatedCompletion && !isOver(task)) steps.push(["expected", task.estimatedCompletion]);
  if (task.finishedAt) steps.push([task.status, task.finishedAt]);
  if (task.notice?.lastAt) steps.push(["notice", task.notice.lastAt]);
  return section(
    t("timeline.title"),
    h(
      "ol",
      { class: "timeline" },
      steps.map(([name, at, values]) =>
        h(
          "li",
          { class: name },
          h("span", {}, t(`timeline.${name}`, values)),
          h("time", { datetime: at, title: moment(at) }, clock(at)),
        ),
      ),
    ),
  );
}

/** The request of the task. */
export function facts(task) {
  const selector = Object.entries(task.nodeSelector ?? {}).map(([key, value]) => `${key}=${value}`);
  const items = [
    [t("field.priority"), number(task.priority)],
    [
      t("field.batchSize"),
      String(task.batchSize) +
        (task.window !== null && String(task.window) !== String(task.batchSize)
          ? ` → ${task.window ? number(task.window) : t("figure.paused")}`
          : ""),
    ],
    [
      t("field.maxRetries"),
      task.maxRetries
        ? t(`facts.${task.retryStrategy}`, { n: number(task.maxRetries), pause: duration(task.retryDelay) })
        : number(0),
    ],
    selector.length > 0 && [t("field.nodeSelector"), selector.map((one) => h("code", {}, one))],
    task.mode && [t("facts.mode"), t(`mode.${task.mode}`)],
    task.webhookUrl && [t("field.webhookUrl"), h("span", { class: "mono" }, task.webhookUrl)],
    ["UID", h("span", { class: "mono" }, task.uid)],
  ].filter(Boolean);
  return section(
    t("facts.title"),
    h("h3", {}, t("facts.images", { n: task.images.length })),
    h(
      "ul",
      { class: "references" },
      task.images.map((image) => h("li", { class: "mono" }, image)),
    ),
    h(
      "dl",
      { class: "facts" },
      items.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]),
    ),
  );
}

/** Nodes left out of the plan, by reason. */
export function skipped(task) {
  if (!Object.keys(task.skippedNodes ?? {}).length) return null;
  return section(t("skipped.title"), reasons(task.skippedNodes));
}

/** The delivery of the webhook notification. */
export function notice(task) {
  const told = task.notice;
  if (!told) return null;
  return section(
    t("notice.title"),
    h(
      "p",
      { class: `outcome ${told.outcome}` },
      known("notice", told.outcome),
      told.tries ? t("notice.tries", { n: told.tries, count: number(told.tries) }) : "",
    ),
    told.reason && h("p", { class: "hint" }, told.reason),
  );
}
