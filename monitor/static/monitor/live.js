// Keeps parts of a page up to date: an element with data-live is fetched from that URL every two seconds and replaced
// if it has changed. What the reader has checked or opened stays. Nothing is fetched while the page is not visible.
"use strict";

const EVERY = 2000;
const LIVE = "live";

function remember(element) {
  const checked = new Set();
  element.querySelectorAll("input[type=checkbox][name]:checked").forEach((box) => checked.add(box.value));
  const opened = new Map();
  element.querySelectorAll("details[data-key]").forEach((each) => opened.set(each.dataset.key, each.open));
  return () => {
    element.querySelectorAll("input[type=checkbox][name]").forEach((box) => (box.checked = checked.has(box.value)));
    element.querySelectorAll("details[data-key]").forEach((each) => {
      if (opened.has(each.dataset.key)) each.open = opened.get(each.dataset.key);
    });
  };
}

function isInUse(element) {
  const active = document.activeElement;
  return element.contains(active) && active.matches("input:not([type=checkbox]), select, textarea");
}

function show(state, link = null) {
  document.querySelectorAll("[data-live-state]").forEach((each) => {
    const shown = link ? Object.assign(document.createElement("a"), { href: link, textContent: state }) : state;
    // Written only when it differs: a screen reader says it again otherwise, and a link would lose the focus.
    if (each.textContent !== state) each.replaceChildren(shown);
    each.classList.toggle("lw-away", state !== LIVE);
  });
}

async function refresh(element) {
  if (document.hidden || isInUse(element)) return;
  const response = await fetch(element.dataset.live, { headers: { Accept: "text/html" }, redirect: "manual" });
  // The admin answers nobody else with a redirect: to its login.
  if (response.type === "opaqueredirect") {
    const login = document.querySelector("[data-live-state]").dataset.login;
    const here = encodeURIComponent(location.pathname + location.search);
    return show("session ended: log in again", `${login}?next=${here}`);
  }
  if (response.status === 403) return show("no permission any more");
  if (!response.ok) throw new Error(response.status);
  replace(element, await response.text());
  show(LIVE);
}

function replace(element, text) {
  if (text === element.lastText) return;
  element.lastText = text;
  const focused = document.activeElement && element.contains(document.activeElement) ? document.activeElement.id : "";
  const restore = remember(element);
  element.innerHTML = text;
  restore();
  if (focused) document.getElementById(focused)?.focus();
}

async function keep(element) {
  for (;;) {
    try {
      await refresh(element);
    } catch {
      show("connection lost");
    }
    await new Promise((resolve) => setTimeout(resolve, Number(element.dataset.every) || EVERY));
  }
}

document.addEventListener("change", (event) => {
  if (!event.target.matches("[data-check-all]")) return;
  event.target.closest("table").querySelectorAll("input[name=ids]").forEach((box) => (box.checked = event.target.checked));
});

document.querySelectorAll("[data-live]").forEach((element) => {
  setTimeout(() => keep(element), "later" in element.dataset ? 0 : EVERY);
});
