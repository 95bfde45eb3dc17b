// The part of the page about mail: send one, watch what becomes of it.

import { announce } from "./announcements.js";
import { get, post } from "./api.js";
import { onSubmit, timeOf } from "./forms.js";
import { MailRow } from "./mail-row.js";
import { Rows } from "./rows.js";
import { Followers } from "./watching.js";
import { explained } from "./words.js";

const form = document.getElementById("mail-form");
const more = document.getElementById("mail-list-more");
const empty = document.getElementById("mail-list-empty");
const listProblem = document.getElementById("mail-list-problem");

const rows = new Rows(document.getElementById("mail-list"), () => new MailRow(sent));
const followers = new Followers();
const statuses = new Map();
let older = null;

export async function start() {
  await loadPage("");
}

export function stop() {
  followers.stop();
  rows.clear();
  statuses.clear();
}

onSubmit(form, async () => {
  const { to, subject, text, importance, send_at: sendAt } = form.elements;
  const message = await post("mail/messages/", {
    to: to.value,
    subject: subject.value,
    text: text.value,
    importance: importance.value,
    send_at: timeOf(sendAt),
  });
  sent(message);
  form.reset();
  announce(`Mail to ${message.to} was accepted.`);
});
more.addEventListener("click", () => loadPage(older));

function sent(message) {
  const isNew = show(message);
  if (isNew) rows.get(message.id).open();
}

async function loadPage(query) {
  listProblem.hidden = true;
  try {
    const { data } = await get(`mail/messages/${query}`);
    older = data.next && new URL(data.next).search;
    data.results.forEach(show);
  } catch (error) {
    listProblem.textContent = explained(error);
    listProblem.hidden = false;
  }
  more.hidden = !older;
  empty.hidden = rows.size > 0 || !listProblem.hidden;
}

function show(message) {
  const isNew = rows.put(message);
  const before = statuses.get(message.id);
  statuses.set(message.id, message.status);
  if (before && before !== message.status) announce(`Mail to ${message.to}: ${message.status}.`);
  if (!message.finished_at) followers.add(`mail/messages/${message.id}/`, show);
  empty.hidden = true;
  return isNew;
}
