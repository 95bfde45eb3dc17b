// The form of a new job: inputs made from the kind's schema. They write the JSON that is sent, which can also be typed.
import { SchemaForm } from "../rest/schema-form.js";

const text = document.querySelector("#lw-params");
const fields = document.querySelector("#lw-fields");
const wrong = document.querySelector("#lw-wrong");
const form = new SchemaForm(JSON.parse(document.querySelector("#lw-schema").textContent), fields);

try {
  form.write(JSON.parse(text.value)); // not empty if the server refused the last submission
  fields.hidden = false;
  document.querySelector("#lw-json").open = false;
} catch {
  // It was typed by hand and is no JSON: it stays as it is.
}

fields.addEventListener("input", () => {
  try {
    text.value = JSON.stringify(form.read(), null, 2);
    wrong.hidden = true;
  } catch (error) {
    wrong.textContent = error.message;
    wrong.hidden = false;
  }
});

text.addEventListener("input", () => {
  try {
    form.write(JSON.parse(text.value));
  } catch {
    // Not finished yet; the server says what is wrong.
  }
});

text.form.addEventListener("submit", (event) => {
  if (!wrong.hidden) event.preventDefault();
});
