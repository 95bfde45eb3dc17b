// The page's beginning: finds out who is logged in, and shows either the login or the two parts, jobs and mail.

import { ApiError } from "./api.js";
import { onSubmit } from "./forms.js";
import * as jobs from "./jobs.js";
import * as mail from "./mail.js";
import { currentUser, logIn, logOut } from "./session.js";
import { ago, explained } from "./words.js";

const PARTS = ["jobs", "mail"];
const TITLES = { jobs: "Jobs", mail: "Mail" };
const CLOCK = 10_000; // milliseconds between two updates of "5 min. ago"

const NARROW = window.matchMedia("(max-width: 860px)");
const byId = (id) => document.getElementById(id);
let user = null;
let chosen = PARTS[0];

async function begin() {
  byId("starting").hidden = false;
  try {
    user = await currentUser();
  } catch (error) {
    byId("unreachable").textContent = `${explained(error)} Reload the page to try again.`;
    byId("unreachable").hidden = false;
    return;
  } finally {
    byId("starting").hidden = true;
  }
  await (user ? enter() : askForLogin());
}

async function enter() {
  byId("login").hidden = true;
  byId("username").textContent = user.username;
  for (const id of ["account", "sections"]) byId(id).hidden = false;
  // Where form and list do not fit beside each other, the list comes first.
  for (const composer of document.querySelectorAll(".composer")) composer.open = !NARROW.matches;
  showPart();
  await Promise.all([jobs.start(), mail.start()]);
}

function leave(reason) {
  user = null;
  jobs.stop();
  mail.stop();
  for (const id of ["account", "sections", ...PARTS]) byId(id).hidden = true;
  askForLogin(reason);
}

function askForLogin(reason = "") {
  document.title = "Log in – Legwork";
  byId("login-reason").textContent = reason;
  byId("login-reason").hidden = !reason;
  byId("login").hidden = false;
  byId("login-username").focus();
}

/** The part that the address names: #jobs or #mail. Another fragment, such as the skip link's, changes nothing. */
function showPart() {
  if (!user) return;
  chosen = PARTS.find((part) => `#${part}` === location.hash) ?? chosen;
  for (const part of PARTS) byId(part).hidden = part !== chosen;
  for (const link of byId("sections").querySelectorAll("a")) {
    if (link.hash === `#${chosen}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${TITLES[chosen]} – Legwork`;
}

onSubmit(byId("login-form"), async () => {
  const { username, password } = byId("login-form").elements;
  user = await logIn(username.value, password.value);
  byId("login-form").reset();
  await enter();
  byId("main").focus({ preventScroll: true });
});

byId("log-out").addEventListener("click", async () => {
  try {
    await logOut();
  } catch (error) {
    if (!(error instanceof ApiError)) return window.alert(explained(error));
  }
  // A logout clears the forms for the next user. If the session has only ended, they stay as they were.
  for (const form of document.forms) form.reset();
  leave("You are logged out.");
});

document.addEventListener("session-ended", () => {
  if (user) leave("Your session has ended. Log in again.");
});
window.addEventListener("hashchange", showPart);
setInterval(() => {
  for (const time of document.querySelectorAll(".row-time")) time.textContent = ago(time.dateTime);
}, CLOCK);

begin();
