// What all forms share: they are sent once, and say what is wrong where it is wrong.

import { ApiError } from "./api.js";
import { explained } from "./words.js";

/**
 * Call action() when the form is submitted; meanwhile the button does nothing. locate(field) gives the input of a field
 * that an error names, such as "params.seconds".
 */
export function onSubmit(form, action, locate = (field) => form.elements[field]) {
  const button = form.querySelector("button[type=submit]");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (button.getAttribute("aria-disabled") === "true") return;
    clearErrors(form);
    // Not `disabled`, which would take the focus away from the button.
    button.setAttribute("aria-disabled", "true");
    try {
      await action();
    } catch (error) {
      showErrors(form, error, locate);
    } finally {
      button.removeAttribute("aria-disabled");
    }
  });
}

export function clearErrors(form) {
  showProblem(form.querySelector(".problem"), "");
  for (const input of form.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
  for (const text of form.querySelectorAll(".error")) show(text, "");
}

export function showProblem(element, text) {
  show(element, text);
}

/** An empty datetime-local field is null; a filled one is local time, and the API wants an offset. */
export function timeOf(input) {
  return input.value ? new Date(input.value).toISOString() : null;
}

function showErrors(form, error, locate) {
  const unplaced = [];
  let first = null;
  for (const { field, detail } of error instanceof ApiError ? error.errors : []) {
    const input = locate(field);
    const text = input && document.getElementById(`${input.id}-error`);
    if (!text) {
      unplaced.push(field ? `${field}: ${detail}` : detail);
      continue;
    }
    show(text, text.hidden ? detail : `${text.textContent} ${detail}`);
    input.setAttribute("aria-invalid", "true");
    input.closest("details")?.setAttribute("open", "");
    first ??= input;
  }
  if (!first || unplaced.length) showProblem(form.querySelector(".problem"), unplaced.join(" ") || explained(error));
  first?.focus();
}

function show(element, text) {
  element.textContent = text;
  element.hidden = !text;
}
