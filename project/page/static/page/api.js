// The API as a browser talks to it: JSON in and out, the session cookie, CSRF, idempotency keys, problem+json, ETags.
//
// Everything else on this page sends requests through the functions here; nothing else calls fetch().

const ROOT = new URL("api/v1/", document.baseURI);
const TRIES = 3;
const PAUSE = 2; // seconds before another try when the server names none

/** An error answer (RFC 9457): `status`, `detail` as message, `errors` by field, `retryAfter` in seconds or null. */
export class ApiError extends Error {
  constructor(response, problem) {
    super(problem.detail ?? `The server answered ${response.status}.`);
    this.name = "ApiError";
    this.status = response.status;
    this.code = problem.code ?? "";
    this.errors = problem.errors ?? [];
    this.retryAfter = secondsToWait(response);
    this.reference = response.headers.get("X-Request-ID");
  }
}

/** No answer at all: the network, or the server, is away. */
export class Unreachable extends Error {
  constructor() {
    super("The server cannot be reached.");
    this.name = "Unreachable";
  }
}

/** The full URL of a path below /api/v1/, for links and streams. */
export function address(path) {
  return new URL(path, ROOT).href;
}

/**
 * GET. Returns { data, etag, retryAfter }; with the ETag of your copy, data is null while the copy is current (304).
 * The server says by Retry-After when it makes sense to ask again.
 */
export async function get(path, { etag = null, signal = undefined } = {}) {
  const response = await send("GET", path, { headers: etag ? { "If-None-Match": etag } : {}, signal });
  return {
    data: response.status === 304 ? null : await response.json(),
    etag: response.headers.get("ETag"),
    retryAfter: secondsToWait(response),
  };
}

/**
 * GET until there is an answer; null if the signal is aborted before. An error that may pass (no answer, 429, 5xx) is
 * given to onProblem(error), and the request is sent again as soon as the server allows.
 */
export async function getPatiently(path, onProblem, signal) {
  while (!signal.aborted) {
    try {
      return await get(path, { signal });
    } catch (error) {
      if (signal.aborted) break;
      const mayPass = error instanceof Unreachable || error.status === 429 || error.status >= 500;
      if (!mayPass) throw error;
      onProblem(error);
      await seconds(error.retryAfter ?? PAUSE, signal).catch(() => {});
    }
  }
  return null;
}

/**
 * POST. Without an answer it is unknown whether the request was carried out. So the same request is sent again with the
 * same Idempotency-Key, and the server does it only once and repeats its first answer.
 */
export async function post(path, data = undefined) {
  const headers = { "Idempotency-Key": newKey() };
  for (let tried = 1; ; tried += 1) {
    try {
      const response = await send("POST", path, { headers, data });
      return await response.json();
    } catch (error) {
      const mayPass = error instanceof Unreachable || error.status === 503;
      if (!mayPass || tried === TRIES) throw error;
      await seconds(error.retryAfter ?? PAUSE);
    }
  }
}

/** POST without an Idempotency-Key, for what creates nothing: a login. */
export async function postOnce(path, data) {
  const response = await send("POST", path, { data });
  return response.json();
}

export async function remove(path) {
  await send("DELETE", path);
}

/**
 * The value of the csrftoken cookie, which GET session/ sets. A foreign site can make the browser send our cookies
 * along, but it can neither read them nor set a header: that both agree proves that a request comes from our page.
 */
export function csrfToken() {
  return cookie("csrftoken");
}

/** Wait. Rejects when the signal is aborted. */
export function seconds(count, signal = undefined) {
  return new Promise((resolve, reject) => {
    const giveUp = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", giveUp);
      resolve();
    }, count * 1000);
    signal?.addEventListener("abort", giveUp);
  });
}

async function send(method, path, { headers = {}, data = undefined, signal = undefined } = {}) {
  const options = { method, headers: { Accept: "application/json", ...headers }, signal };
  if (data !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(data);
  }
  if (method !== "GET") {
    options.headers["X-CSRFToken"] = csrfToken();
  }
  const response = await fetch(address(path), options).catch((error) => {
    throw error.name === "AbortError" ? error : new Unreachable();
  });
  if (response.ok || response.status === 304) return response;
  const error = new ApiError(response, await problem(response));
  if (error.status === 401) document.dispatchEvent(new Event("session-ended"));
  throw error;
}

async function problem(response) {
  const isProblem = response.headers.get("Content-Type")?.startsWith("application/problem+json");
  return isProblem ? response.json() : {};
}

function secondsToWait(response) {
  const value = Number.parseInt(response.headers.get("Retry-After"), 10);
  return Number.isNaN(value) ? null : value;
}

function cookie(name) {
  const found = document.cookie.split("; ").find((pair) => pair.startsWith(`${name}=`));
  return found ? decodeURIComponent(found.slice(name.length + 1)) : "";
}

/** 128 random bits. crypto.randomUUID() would need https. */
function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
