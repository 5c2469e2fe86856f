/** Key numbers of a task, at the top of its view. */

import { pullingNodes } from "./components.js";
import { h, keyed, say } from "./dom.js";
import { ago, between, bytes, duration, number } from "./format.js";
import { t } from "./i18n.js";

/** Fill a description list with the numbers that are known. */
export function statusTiles(element, task) {
  const { totalNodes, completedNodes, failedNodes, currentBatch, totalBatches, percentage } = task.progress;
  const running = task.status === "running";
  const shown = [
    totalNodes > 0 && [
      "done",
      t("figure.of", { n: number(completedNodes), all: number(totalNodes) }),
      t("figure.percent", { n: number(percentage) }),
    ],
    totalNodes > 0 && ["failed", number(failedNodes), "", failedNodes ? "bad" : ""],
    running &&
      totalNodes > 0 && [
        "pulling",
        number(pullingNodes(task)),
        task.window === 0
          ? t("figure.paused")
          : task.window
            ? t("figure.window", { n: number(task.window) })
            : "",
      ],
    totalBatches > 0 && ["batch", t("figure.of", { n: number(currentBatch), all: number(totalBatches) })],
    task.summary && [
      "bytes",
      bytes(task.summary.bytes),
      t("figure.images", {
        n: task.summary.images.pulled ?? 0,
        count: number(task.summary.images.pulled ?? 0),
      }),
    ],
    task.summary && task.summary.warm > 0 && ["warm", number(task.summary.warm)],
    ["duration", duration(between(task.startedAt, task.finishedAt))],
    running && task.estimatedCompletion && ["left", ago(task.estimatedCompletion)],
    task.retryCount > 0 && ["tries", number(task.retryCount)],
  ].filter(Boolean);
  keyed(
    element,
    shown,
    ([name]) => name,
    ([name]) => h("div", {}, h("dt", {}, t(`figure.${name}`)), h("dd", {}, h("b", {}), h("small", {}))),
    (one, [, value, beside = "", mood = ""]) => {
      one.className = mood;
      say(one.querySelector("b"), value);
      say(one.querySelector("small"), beside);
    },
  );
}
