// Learning of changes: polling one resource, no more often than the server asks for.

import { ApiError, get, seconds } from "./api.js";

const PAUSE = 5; // seconds, when the server names none
const LONGEST_PAUSE = 60;

/**
 * Poll a job or message until it has finished, and call onChange with each new state. An unchanged one costs a 304.
 * While the page is in the background nothing is asked.
 */
export async function follow(path, onChange, signal) {
  let etag = null;
  let failures = 0;
  while (!signal.aborted) {
    let pause = PAUSE;
    try {
      const answer = await get(path, { etag, signal });
      failures = 0;
      etag = answer.etag;
      pause = answer.retryAfter ?? PAUSE;
      if (answer.data) onChange(answer.data);
      if (answer.data?.finished_at) return;
    } catch (error) {
      if (signal.aborted || (error instanceof ApiError && [401, 403, 404].includes(error.status))) return;
      failures += 1;
      pause = error.retryAfter ?? Math.min(PAUSE * 2 ** failures, LONGEST_PAUSE);
    }
    await seconds(pause, signal).catch(() => {});
    await inForeground(signal);
  }
}

/** Follows several resources at once, each at most once. */
export class Followers {
  #following = new Map();

  add(path, onChange) {
    if (this.#following.has(path)) return;
    const controller = new AbortController();
    this.#following.set(path, controller);
    follow(path, onChange, controller.signal).finally(() => this.#following.delete(path));
  }

  stop() {
    for (const controller of this.#following.values()) controller.abort();
    this.#following.clear();
  }
}

function inForeground(signal) {
  if (!document.hidden || signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      if (document.hidden && !signal.aborted) return;
      document.removeEventListener("visibilitychange", done);
      resolve();
    };
    document.addEventListener("visibilitychange", done);
    signal.addEventListener("abort", done);
  });
}
