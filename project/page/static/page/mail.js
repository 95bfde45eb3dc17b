// The part of the page about mail: send one, watch what becomes of it.

import { announce } from "./announcements.js";
import { getPatiently, post } from "./api.js";
import { onSubmit, showProblem, timeOf } from "./forms.js";
import { MailRow } from "./mail-row.js";
import { Rows } from "./rows.js";
import { Watchers } from "./watching.js";
import { triedAgain } from "./words.js";

const form = document.getElementById("mail-form");
const more = document.getElementById("mail-list-more");
const empty = document.getElementById("mail-list-empty");
const listProblem = document.getElementById("mail-list-problem");

const rows = new Rows(document.getElementById("mail-list"), () => new MailRow(sent));
const watchers = new Watchers();
const statuses = new Map();
let older = null;
let leaving = new AbortController();

export async function start() {
  leaving = new AbortController();
  await loadPage("");
}

export function stop() {
  leaving.abort();
  watchers.stop();
  rows.clear();
  statuses.clear();
}

onSubmit(form, async () => {
  const { to, subject, text, importance, send_at: sendAt } = form.elements;
  const asked = performance.now();
  const message = await post("mail/messages/", {
    to: to.value,
    subject: subject.value,
    text: text.value,
    importance: importance.value,
    send_at: timeOf(sendAt),
  });
  sent(message, asked);
  form.reset();
  rows.reveal(message.id);
  announce(`Mail to ${message.to} was accepted.`);
});
more.addEventListener("click", () => loadPage(older));

/** A new message's timeline is open from the beginning. */
function sent(message, asked) {
  const isNew = !rows.get(message.id);
  show(message, asked);
  if (isNew) rows.get(message.id).open();
}

async function loadPage(query) {
  const asked = performance.now();
  const tell = (error) => showProblem(listProblem, triedAgain(error));
  const answer = await getPatiently(`mail/messages/${query}`, tell, leaving.signal);
  if (!answer) return;
  const { next, results } = answer.data;
  showProblem(listProblem, "");
  older = next && new URL(next).search;
  for (const message of results) show(message, asked);
  more.hidden = !older;
  empty.hidden = rows.size > 0;
}

function show(message, asked) {
  rows.put(message, asked);
  const { item } = rows.get(message.id);
  const before = statuses.get(item.id);
  statuses.set(item.id, item.status);
  if (before && before !== item.status) announce(`Mail to ${item.to}: ${item.status}.`);
  if (!item.finished_at) watchers.add(`mail/messages/${item.id}/`, show, "message");
  empty.hidden = true;
  return item.finished_at ? "done" : "to be continued";
}
