// Keeps parts of a page up to date: an element with data-live is fetched from that URL every two seconds and replaced
// if it has changed. What the reader has checked or opened stays. Nothing is fetched while the page is not visible.
"use strict";

const EVERY = 2000;

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

function show(state) {
  document.querySelectorAll("[data-live-state]").forEach((each) => {
    each.textContent = state;
    each.classList.toggle("lw-away", state !== "live");
  });
}

async function refresh(element) {
  if (document.hidden || isInUse(element)) return;
  const response = await fetch(element.dataset.live, { headers: { Accept: "text/html" }, redirect: "error" });
  if (!response.ok) throw new Error(response.status);
  const text = await response.text();
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
      show("live");
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
