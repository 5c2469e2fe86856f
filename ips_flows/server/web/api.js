/** Client of the REST API. Every failure is an ApiError with a readable message. */

import { t } from "./i18n.js";
import { keepToken, token } from "./storage.js";

const BASE = "/api/v1/tasks";
const REFUSED = new EventTarget();

/** An API error: HTTP status (0 without a response), message, hint, and details by field. */
export class ApiError extends Error {
  constructor(status, message, { details = [], hint = "" } = {}) {
    super(message);
    this.status = status;
    this.details = details;
    this.hint = hint;
  }

  /** Message and hint, for display. */
  get words() {
    return [this.message, this.hint].filter(Boolean).join("\n");
  }
}

/** Add a listener for responses with status 401. */
export const onUnauthorized = (listener) => REFUSED.addEventListener("refused", listener);

/** Read the configuration of the page: argoUrl, namespace, auth, version. */
export const config = () => json("/web/config.json");

/** Read one page of the task list. */
export function tasks({ status, search, limit, offset }, signal) {
  const query = new URLSearchParams({ limit, offset });
  if (status) query.set("status", status);
  if (search) query.set("search", search);
  return json(`${BASE}?${query}`, { signal });
}

export const task = (id) => json(`${BASE}/${encodeURIComponent(id)}`);
export const cancel = (id) => json(`${BASE}/${encodeURIComponent(id)}`, { method: "DELETE" });
export const retry = (id) => json(`${BASE}/${encodeURIComponent(id)}/retry`, { method: "POST", body: "{}" });

/** Submit a request. Resolves to the task and whether it was created. */
export async function create(request) {
  const answer = await ask(BASE, { method: "POST", body: JSON.stringify(request) });
  return { task: await answer.json(), created: answer.status === 201 };
}

/** Open the event stream of a task. Resolves to a stream of bytes. */
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
