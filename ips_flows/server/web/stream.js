/** Live updates of one task: read while the tab is visible, reconnected after each break. */

import { ApiError, events } from "./api.js";
import { t } from "./i18n.js";

const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 10_000;
const SILENCE = 60_000; // the server sends a comment more often than that

/**
 * Call `onTask` with each state of the task, `onState` with "live", "lost" or "over", and `onError` with an error
 * that a retry can't fix. Only the event `end` or `deleted` ends the stream; any other end is a lost connection.
 */
export function follow(id, { onTask, onState, onError }) {
  let reading = null;
  let timer = 0;
  let pause = FIRST_PAUSE;
  let over = false;

  async function read() {
    window.clearTimeout(timer);
    reading?.abort();
    const mine = new AbortController();
    reading = mine;
    let problem = null;
    try {
      await through(mine);
    } catch (error) {
      const broken =
        [ApiError, TypeError, SyntaxError].some((kind) => error instanceof kind) ||
        error.name === "AbortError";
      if (!broken) throw error;
      problem = error;
    }
    if (reading !== mine) return;
    reading = null;
    if ([401, 403, 404].includes(problem?.status)) {
      onError(problem);
    } else if (!over) {
      onState("lost");
      timer = window.setTimeout(read, pause);
      pause = Math.min(LONGEST_PAUSE, pause * 2);
    }
  }

  async function through(mine) {
    const reader = (await events(id, mine.signal)).getReader();
    const decoder = new TextDecoder();
    let rest = "";
    for (;;) {
      const silent = window.setTimeout(() => mine.abort(), SILENCE);
      const { done, value } = await reader.read().finally(() => window.clearTimeout(silent));
      if (done) return;
      const blocks = (rest + decoder.decode(value, { stream: true })).split(/\r?\n\r?\n/);
      rest = blocks.pop();
      blocks.map(eventOf).forEach(take);
    }
  }

  /** Handle one event. An exception in the view goes to the console and does not break the stream. */
  function take(event) {
    pause = FIRST_PAUSE;
    try {
      tell(event);
    } catch (error) {
      window.reportError(error);
    }
  }

  function tell({ kind, task }) {
    if (kind === "task") {
      onState("live");
      onTask(task);
    } else if (kind === "end" || kind === "deleted") {
      over = true;
      onState("over");
      if (kind === "deleted") onError(new ApiError(404, t("error.deleted")));
    }
  }

  // A hidden tab closes its connection: browsers open only six to one server.
  function seen() {
    if (document.visibilityState !== "visible") leave();
    else if (!reading && !over) read();
  }

  function leave() {
    window.clearTimeout(timer);
    const left = reading;
    reading = null;
    left?.abort();
  }

  document.addEventListener("visibilitychange", seen);
  window.addEventListener("online", seen);
  if (document.visibilityState === "visible") read();
  return {
    stop() {
      leave();
      document.removeEventListener("visibilitychange", seen);
      window.removeEventListener("online", seen);
    },
  };
}

/** Parse a block of `event:` and `data:` lines. A comment, which the server sends as heartbeat, has no kind. */
function eventOf(block) {
  const lines = block.split(/\r?\n/);
  const values = (name) =>
    lines
      .filter((line) => line.startsWith(`${name}:`))
      .map((line) => line.slice(name.length + 1).replace(/^ /, ""));
  const kind = values("event").at(-1) ?? "";
  return { kind, task: kind === "task" ? JSON.parse(values("data").join("\n")) : null };
}
