// The part of the page about jobs: post one, watch them all.

import { announce } from "./announcements.js";
import { get, getPatiently, post } from "./api.js";
import { onSubmit, showProblem, timeOf } from "./forms.js";
import { JobRow } from "./job-row.js";
import { Rows } from "./rows.js";
import { SchemaForm } from "../rest/schema-form.js";
import { Stream, Watchers } from "./watching.js";
import { triedAgain } from "./words.js";

const REFRESH = 10; // seconds between two looks at the list without a stream, for jobs that were posted elsewhere
const CONNECTION = { live: "Live", interrupted: "Connection lost, trying again …", refused: "Updated every few seconds" };

const form = document.getElementById("job-form");
const kindChoice = document.getElementById("job-kind");
const kindHint = document.getElementById("job-kind-hint");
const params = document.getElementById("job-params");
const filter = document.getElementById("job-filter");
const more = document.getElementById("job-list-more");
const empty = document.getElementById("job-list-empty");
const connection = document.getElementById("job-connection");
const listProblem = document.getElementById("job-list-problem");

const rows = new Rows(document.getElementById("job-list"), () => new JobRow(show));
const stream = new Stream("jobs/events/", "job", showIfWanted, connected);
const watchers = new Watchers();
const statuses = new Map();
let kinds = new Map();
let schemaForm = null;
let older = null;
let polling = null;
let leaving = new AbortController();

export async function start() {
  leaving = new AbortController();
  stream.start();
  await Promise.all([loadKinds(), loadList()]);
}

export function stop() {
  leaving.abort();
  stream.stop();
  stopPolling();
  rows.clear();
  statuses.clear();
}

/** The stream tells of changes since it opened. What happened before, or while it was interrupted, is in the list. */
function connected(state) {
  connection.textContent = CONNECTION[state];
  connection.dataset.state = state;
  if (state === "live") {
    stopPolling();
    catchUp();
  } else if (state === "refused" && !polling) {
    polling = setInterval(() => document.hidden || catchUp(), REFRESH * 1000);
    rows.unfinished().forEach(watch);
  }
}

function stopPolling() {
  clearInterval(polling);
  polling = null;
  watchers.stop();
}

function watch(job) {
  if (polling && !job.finished_at) watchers.add(`jobs/${job.id}/`, show);
}

async function catchUp() {
  if (filter.value) return;
  const asked = performance.now();
  try {
    const { data } = await get("jobs/");
    for (const job of data.results) show(job, asked);
  } catch {
    // The stream's state says so, and it is tried again.
  }
}

onSubmit(form, postJob, (field) => {
  const [name, ...rest] = field.split(".");
  return name === "params" ? schemaForm.input(rest.join(".")) : form.elements[name];
});
kindChoice.addEventListener("change", chooseKind);
form.addEventListener("reset", () => queueMicrotask(chooseKind)); // the first kind is chosen then
filter.addEventListener("change", loadList);
more.addEventListener("click", () => loadPage(older));

/** Loads them once, so that what was filled in survives another login. */
async function loadKinds() {
  if (kinds.size) return;
  const problem = form.querySelector(".problem");
  const tell = (error) => showProblem(problem, triedAgain(error));
  const answer = await getPatiently("job-kinds/", tell, leaving.signal);
  if (!answer) return;
  showProblem(problem, "");
  kinds = new Map(answer.data.results.map((kind) => [kind.name, kind]));
  kindChoice.replaceChildren(...[...kinds.keys()].map((name) => new Option(name, name)));
  chooseKind();
}

function chooseKind() {
  const kind = kinds.get(kindChoice.value);
  if (!kind) return;
  kindHint.textContent = kind.description;
  schemaForm = new SchemaForm(kind.params_schema, params);
  form.elements.max_attempts.placeholder = kind.max_attempts ?? "no limit";
}

async function postJob() {
  const { run_at: runAt, priority, max_attempts: attempts } = form.elements;
  const asked = performance.now();
  const job = await post("jobs/", {
    kind: kindChoice.value,
    params: schemaForm.read(),
    run_at: timeOf(runAt),
    priority: numberOf(priority),
    max_attempts: numberOf(attempts),
  });
  show(job, asked);
  rows.reveal(job.id);
  announce(`${job.kind} was accepted.`);
}

function numberOf(input) {
  return input.value === "" ? null : Number(input.value);
}

async function loadList() {
  rows.clear();
  const query = new URLSearchParams(filter.value.split(" ").filter(Boolean).map((status) => ["status", status]));
  await loadPage(`?${query}`);
}

/** query: of the list's URL; the answer's `next` is such a URL with a cursor. */
async function loadPage(query) {
  const wanted = filter.value;
  const asked = performance.now();
  const tell = (error) => showProblem(listProblem, triedAgain(error));
  const answer = await getPatiently(`jobs/${query}`, tell, leaving.signal);
  if (!answer || filter.value !== wanted) return;
  const { next, results } = answer.data;
  showProblem(listProblem, "");
  older = next && new URL(next).search;
  for (const job of results) show(job, asked);
  more.hidden = !older;
  showEmptiness();
}

/** Called with each state of each job that the page learns of. asked: when it was asked for. */
function show(job, asked) {
  rows.put(job, asked);
  const { item } = rows.get(job.id);
  tell(item);
  watch(item);
  showEmptiness();
  return item.finished_at ? "done" : "to be continued";
}

/** The stream tells of all jobs. A job that the filter left out stays out; one that is shown stays, whatever becomes of it. */
function showIfWanted(job) {
  if (rows.get(job.id) || !filter.value || filter.value.split(" ").includes(job.status)) show(job);
}

function tell(job) {
  const before = statuses.get(job.id);
  statuses.set(job.id, job.status);
  if (!before || before === job.status || !job.finished_at) return;
  announce(`${job.kind} ${job.status === "cancelled" ? "was cancelled" : `has ${job.status}`}.`);
}

function showEmptiness() {
  empty.hidden = rows.size > 0 || !listProblem.hidden;
  if (empty.hidden || empty.dataset.filter === filter.value) return;
  empty.dataset.filter = filter.value;
  const [title, text] = filter.value
    ? ["Nothing here", "None of your jobs is in this state."]
    : ["No jobs yet", "Post one, and watch here how it is getting on."];
  empty.replaceChildren(
    Object.assign(document.createElement("h2"), { textContent: title }),
    Object.assign(document.createElement("p"), { textContent: text }),
  );
}
