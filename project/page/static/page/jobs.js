// The part of the page about jobs: post one, watch them all.

import { ApiError, get, post, seconds } from "./api.js";
import { announce } from "./announcements.js";
import { onSubmit, timeOf } from "./forms.js";
import { JobRow } from "./job-row.js";
import { Rows } from "./rows.js";
import { SchemaForm } from "./schema-form.js";
import { Followers } from "./watching.js";
import { explained } from "./words.js";

const REFRESH = 10; // seconds between two looks at the list, for jobs that were posted elsewhere

const form = document.getElementById("job-form");
const kindChoice = document.getElementById("job-kind");
const kindHint = document.getElementById("job-kind-hint");
const params = document.getElementById("job-params");
const filter = document.getElementById("job-filter");
const more = document.getElementById("job-list-more");
const empty = document.getElementById("job-list-empty");
const listProblem = document.getElementById("job-list-problem");

const rows = new Rows(document.getElementById("job-list"), () => new JobRow(show));
const followers = new Followers();
const statuses = new Map();
let kinds = new Map();
let schemaForm = null;
let older = null;
let refreshing = null;

export async function start() {
  await loadKinds();
  await loadList();
  refreshing = new AbortController();
  refresh(refreshing.signal);
}

export function stop() {
  refreshing?.abort();
  followers.stop();
  rows.clear();
  statuses.clear();
}

onSubmit(form, postJob, (field) => {
  const [name, ...rest] = field.split(".");
  return name === "params" ? schemaForm.input(rest.join(".")) : form.elements[name];
});
kindChoice.addEventListener("change", chooseKind);
filter.addEventListener("change", loadList);
more.addEventListener("click", () => loadPage(older));

async function loadKinds() {
  const { data } = await get("job-kinds/");
  kinds = new Map(data.results.map((kind) => [kind.name, kind]));
  const chosen = kindChoice.value;
  kindChoice.replaceChildren(...[...kinds.keys()].map((name) => new Option(name, name, false, name === chosen)));
  chooseKind();
}

function chooseKind() {
  const kind = kinds.get(kindChoice.value);
  kindHint.textContent = kind.description;
  schemaForm = new SchemaForm(kind.params_schema, params);
  form.elements.max_attempts.placeholder = kind.max_attempts ?? "no limit";
}

async function postJob() {
  const { run_at: runAt, priority, max_attempts: attempts } = form.elements;
  const job = await post("jobs/", {
    kind: kindChoice.value,
    params: schemaForm.read(),
    run_at: timeOf(runAt),
    priority: numberOf(priority),
    max_attempts: numberOf(attempts),
  });
  show(job);
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
  listProblem.hidden = true;
  try {
    const { data } = await get(`jobs/${query}`);
    older = data.next && new URL(data.next).search;
    data.results.forEach(show);
  } catch (error) {
    listProblem.textContent = explained(error);
    listProblem.hidden = false;
  }
  more.hidden = !older;
  showEmptiness();
}

/** Called with each state of each job that the page learns of. */
function show(job) {
  rows.put(job);
  tell(job);
  if (!job.finished_at) followers.add(`jobs/${job.id}/`, show);
  showEmptiness();
}

function tell(job) {
  const before = statuses.get(job.id);
  statuses.set(job.id, job.status);
  if (before && before !== job.status && job.finished_at) announce(`${job.kind} has ${job.status === "cancelled" ? "been cancelled" : job.status}.`);
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

async function refresh(signal) {
  for (;;) {
    await seconds(REFRESH, signal).catch(() => {});
    if (signal.aborted) return;
    if (document.hidden || filter.value) continue;
    try {
      const { data } = await get("jobs/", { signal });
      data.results.filter((job) => !rows.has(job.id)).forEach(show);
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) return;
    }
  }
}
