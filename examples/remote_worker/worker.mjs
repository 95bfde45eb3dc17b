// A remote worker for Node 18 or newer: leases jobs, renews the lease while it works, and reports how they end.
//   LEGWORK_URL=http://127.0.0.1:8000 LEGWORK_TOKEN=… node worker.mjs
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";

const { LEGWORK_URL, LEGWORK_TOKEN, WORKER = hostname() } = process.env;
const headers = { Authorization: `Token ${LEGWORK_TOKEN}`, "Content-Type": "application/json" };

const handlers = {
  "demo.remote": async ({ note }, task) => {
    for (let step = 1; step <= 4; step++) {
      await sleep(250, null, { signal: task.signal }); // ends at once when the job is cancelled
      task.progress = { percent: 25 * step, message: `step ${step}` };
    }
    return { shouted: note.toUpperCase() };
  },
};

async function call(method, url, body, more = {}) {
  const options = { method, headers: { ...headers, ...more }, body: body && JSON.stringify(body) };
  return fetch(new URL(url, `${LEGWORK_URL}/api/v1/`), options);
}

async function heartbeat(lease, task, stop) {
  const length = Date.parse(lease.expires_at) - Date.parse(lease.job.started_at);
  while (!task.done && !task.signal.aborted) {
    await sleep(Math.min(length / 3, 5000));
    if (task.done) return;
    const body = task.progress ? { progress: task.progress } : {};
    const answer = await call("PATCH", lease.url, body).catch(() => null); // offline: the next one may get through
    if (answer?.status === 410 || (answer?.ok && (await answer.json()).cancel_requested)) stop.abort();
  }
}

async function work(lease) {
  const stop = new AbortController();
  const task = { signal: stop.signal, progress: null, done: false };
  heartbeat(lease, task, stop);
  let report;
  try {
    report = ["success/", { result: await handlers[lease.job.kind](lease.job.params, task) }];
  } catch (error) {
    report = ["failure/", { message: String(error) }];
  }
  task.done = true;
  const answer = await call("POST", lease.url + report[0], report[1]);
  console.log(lease.job.id, answer.status === 410 ? "lost" : (await answer.json()).status);
}

for (;;) {
  const body = { worker: WORKER, kinds: Object.keys(handlers) };
  const answer = await call("POST", "leases/", body, { Prefer: "wait=20" }).catch(() => null);
  if (answer?.status === 401 || answer?.status === 403) throw new Error(`refused: ${await answer.text()}`);
  if (answer?.status === 201) await work(await answer.json()).catch((error) => console.error(String(error)));
  else await sleep((answer?.headers.has("preference-applied") ? 100 : 2000) * Math.random());
}
