/** The server's API. Every failure is an ApiError with a sentence for people. */

import { t } from "./i18n.js";
import { keepToken, token } from "./storage.js";

const BASE = "/api/v1/tasks";
const REFUSED = new EventTarget();

/** What went wrong: the HTTP status (0 without an answer), the server's words, what to do, and what it says of fields. */
export class ApiError extends Error {
  constructor(status, message, { details = [], hint = "" } = {}) {
    super(message);
    this.status = status;
    this.details = details;
    this.hint = hint;
  }

  /** All of it that is for people. */
  get words() {
    return [this.message, this.hint].filter(Boolean).join("\n");
  }
}

/** Be told when the server wants a token, or another one. */
export const onUnauthorized = (listener) => REFUSED.addEventListener("refused", listener);

/** What the server says of itself: argoUrl, namespace, auth, version. */
export const config = () => json("/web/config.json");

/** A page of tasks. */
export function tasks({ status, search, limit, offset }, signal) {
  const query = new URLSearchParams({ limit, offset });
  if (status) query.set("status", status);
  if (search) query.set("search", search);
  return json(`${BASE}?${query}`, { signal });
}

export const task = (id) => json(`${BASE}/${encodeURIComponent(id)}`);
export const cancel = (id) => json(`${BASE}/${encodeURIComponent(id)}`, { method: "DELETE" });
export const retry = (id) => json(`${BASE}/${encodeURIComponent(id)}/retry`, { method: "POST", body: "{}" });

/** Submit a request: the task, and whether it is a new one. */
export async function create(request) {
  const answer = await ask(BASE, { method: "POST", body: JSON.stringify(request) });
  return { task: await answer.json(), created: answer.status === 201 };
}

/** The body of the live updates of a task, as a stream of bytes. */
export async function events(id, signal) {
  const answer = await ask(`${BASE}/${encodeURIComponent(id)}/events`, {
    signal,
    headers: { Accept: "text/event-stream" },
  });
  return answer.body;
}

async function json(path, options) {
  const answer = await ask(path, options);
  try {
    return await answer.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, t("error.garbled"));
  }
}

async function ask(path, options = {}) {
  const headers = { Accept: "application/json", ...options.headers };
  if (options.method) headers["Content-Type"] = "application/json";
  const sent = token();
  if (sent) headers.Authorization = `Bearer ${sent}`;
  let answer;
  try {
    answer = await fetch(path, { ...options, headers, cache: "no-store", redirect: "error" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, t("error.unreachable"));
  }
  if (answer.ok) return answer;
  const problem = await refusal(answer);
  if (answer.status === 401 && token() === sent) {
    keepToken(null);
    REFUSED.dispatchEvent(
      new CustomEvent("refused", { detail: { again: Boolean(sent), message: problem.message } }),
    );
  }
  throw problem;
}

async function refusal(answer) {
  const text = await answer.text();
  try {
    const body = JSON.parse(text);
    return new ApiError(answer.status, body.error ?? t("error.status", { status: answer.status }), {
      details: body.details,
      hint: body.hint,
    });
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return new ApiError(answer.status, t("error.status", { status: answer.status }));
  }
}
