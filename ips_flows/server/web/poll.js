/** Poll while the tab is visible, with growing pauses while requests fail. */

const LONGEST_SECONDS = 15;

/** `ask(signal)` resolves to true on success. `now()` polls immediately and aborts a request in flight. */
export function poll(seconds, ask) {
  let timer = 0;
  let asking = null;
  let failures = 0;
  let stopped = false;

  async function now() {
    window.clearTimeout(timer);
    asking?.abort();
    const mine = new AbortController();
    asking = mine;
    let good = false;
    try {
      good = await ask(mine.signal);
    } catch (error) {
      if (error.name !== "AbortError") throw error;
    }
    if (stopped || asking !== mine) return;
    asking = null;
    failures = good ? 0 : failures + 1;
    const pause = Math.min(LONGEST_SECONDS, seconds * 2 ** failures);
    if (document.visibilityState === "visible") timer = window.setTimeout(now, pause * 1000);
  }

  function seen() {
    window.clearTimeout(timer);
    if (document.visibilityState === "visible") now();
  }

  document.addEventListener("visibilitychange", seen);
  window.addEventListener("online", seen);
  now();
  return {
    now,
    stop() {
      stopped = true;
      window.clearTimeout(timer);
      asking?.abort();
      document.removeEventListener("visibilitychange", seen);
      window.removeEventListener("online", seen);
    },
  };
}
