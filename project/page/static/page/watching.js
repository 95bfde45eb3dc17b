// Learning of changes: by server-sent events where possible, otherwise by polling, no more often than the server asks for.

import { ApiError, address, get, seconds } from "./api.js";

const PAUSE = 5; // seconds between two polls, when the server names none
const LONGEST_PAUSE = 60;
const STREAM_AGAIN = 30; // seconds until a stream that was refused is tried again
const STREAMS = 2; // of single resources at a time: over HTTP/1.1 a browser opens six connections to a server in all

/**
 * One stream of events for as long as the page is open. onItem(item) gets each event's data, onState(state) "live",
 * "interrupted" (the browser reconnects by itself, and names the last event that it got), or "refused".
 */
export class Stream {
  #source = null;
  #timer = null;

  constructor(path, event, onItem, onState) {
    Object.assign(this, { path, event, onItem, onState });
  }

  start() {
    if (!("streams" in document.documentElement.dataset)) return this.onState("refused");
    // The session cookie goes along by itself; no header can be set, and none is needed for a GET.
    this.#source = new EventSource(address(this.path));
    this.#source.addEventListener("open", () => this.onState("live"));
    this.#source.addEventListener(this.event, (event) => this.onItem(JSON.parse(event.data)));
    this.#source.addEventListener("error", () => {
      if (this.#source.readyState === EventSource.CONNECTING) {
        this.onState("interrupted");
      } else {
        this.stop();
        this.#timer = setTimeout(() => this.start(), STREAM_AGAIN * 1000);
        this.onState("refused");
      }
    });
  }

  stop() {
    this.#source?.close();
    clearTimeout(this.#timer);
  }
}

/**
 * Poll a job or message, and call onChange(item, asked) with each new state; asked: when the request was sent. Ends
 * when onChange says that there is nothing more to come. An unchanged resource costs a 304. While the page is in the
 * background nothing is asked.
 */
export async function poll(path, onChange, signal) {
  let etag = null;
  let failures = 0;
  while (!signal.aborted) {
    let pause;
    try {
      const asked = performance.now();
      const answer = await get(path, { etag, signal });
      failures = 0;
      etag = answer.etag;
      pause = answer.retryAfter ?? PAUSE;
      if (answer.data && onChange(answer.data, asked) === "done") return;
    } catch (error) {
      if (signal.aborted || (error instanceof ApiError && [401, 403, 404].includes(error.status))) return;
      failures += 1;
      pause = error.retryAfter ?? Math.min(PAUSE * 2 ** failures, LONGEST_PAUSE);
    }
    await seconds(pause, signal).catch(() => {});
    await inForeground(signal);
  }
}

/** Watches several resources, each once. */
export class Watchers {
  #watched = new Map();
  #streams = 0;

  /** event: the name of the events of the resource's own stream, `events/` below it; without one it is polled. */
  add(path, onChange, event = null) {
    if (this.#watched.has(path)) return;
    const controller = new AbortController();
    this.#watched.set(path, controller);
    this.#watch(path, onChange, event, controller.signal).finally(() => {
      if (this.#watched.get(path) === controller) this.#watched.delete(path);
    });
  }

  stop() {
    for (const controller of this.#watched.values()) controller.abort();
    this.#watched.clear();
  }

  async #watch(path, onChange, event, signal) {
    if (event && this.#streams < STREAMS) {
      this.#streams += 1;
      const end = await readStream(`${path}events/`, event, onChange, signal);
      this.#streams -= 1;
      if (end === "done") return;
    }
    await poll(path, onChange, signal);
  }
}

/** Resolves to "done" after the final state, or "refused". */
function readStream(path, event, onChange, signal) {
  return new Promise((resolve) => {
    const stream = new Stream(
      path,
      event,
      (item) => onChange(item, performance.now()) === "done" && end("done"),
      (state) => state === "refused" && end("refused"),
    );
    const end = (how) => {
      stream.stop();
      resolve(how);
    };
    signal.addEventListener("abort", () => end("done"));
    stream.start();
  });
}

function inForeground(signal) {
  if (!document.hidden || signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const check = () => {
      if (document.hidden && !signal.aborted) return;
      document.removeEventListener("visibilitychange", check);
      signal.removeEventListener("abort", check);
      resolve();
    };
    document.addEventListener("visibilitychange", check);
    signal.addEventListener("abort", check);
  });
}
