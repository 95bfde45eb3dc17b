// The part of the page about mail: send one, watch what becomes of it.

import { announce } from "./announcements.js";
import { get, post } from "./api.js";
import { onSubmit, timeOf } from "./forms.js";
import { MailRow } from "./mail-row.js";
import { Rows } from "./rows.js";
import { Watchers } from "./watching.js";
import { explained } from "./words.js";

const form = document.getElementById("mail-form");
const more = document.getElementById("mail-list-more");
const empty = document.getElementById("mail-list-empty");
const listProblem = document.getElementById("mail-list-problem");

const rows = new Rows(document.getElementById("mail-list"), () => new MailRow(sent));
const watchers = new Watchers();
const statuses = new Map();
let older = null;

export async function start() {
  await loadPage("");
}

export function stop() {
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
  listProblem.hidden = true;
  const asked = performance.now();
  try {
    const { data } = await get(`mail/messages/${query}`);
    older = data.next && new URL(data.next).search;
    for (const message of data.results) show(message, asked);
  } catch (error) {
    listProblem.textContent = explained(error);
    listProblem.hidden = false;
  }
  more.hidden = !older;
  empty.hidden = rows.size > 0 || !listProblem.hidden;
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
