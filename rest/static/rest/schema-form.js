// A form made from a JSON Schema: an input for each property, as GET job-kinds/ describes a kind's params.

const OBJECT_HINT = "As JSON.";
const LIST_HINT = "One on each line.";

/** Makes the inputs in `container`. read() gives the object, write() takes one, input(path) finds an error's field. */
export class SchemaForm {
  constructor(schema, container) {
    const required = new Set(schema.required ?? []);
    this.fields = Object.entries(schema.properties ?? {}).map(
      ([name, property]) => new Field(name, plain(property), required.has(name)),
    );
    // Required ones first; the order is otherwise the schema's.
    this.fields.sort((one, other) => other.required - one.required);
    container.replaceChildren(...this.fields.map((field) => field.element));
  }

  /** Only what was filled in. Throws SyntaxError for text that should be JSON and is not. */
  read() {
    const filled = this.fields.map((field) => [field.name, field.read()]).filter(([, value]) => value !== undefined);
    return Object.fromEntries(filled);
  }

  write(values) {
    for (const field of this.fields) if (field.name in values) field.write(values[field.name]);
  }

  input(path) {
    const name = path.split(".")[0];
    return this.fields.find((field) => field.name === name)?.input;
  }
}

/** "fail_attempts" → "fail attempts", "url" → "URL". */
function titleOf(name) {
  return name.replaceAll("_", " ").replace(/\b(url|json|html)\b/g, (word) => word.toUpperCase());
}

class Field {
  constructor(name, schema, required) {
    this.name = name;
    this.schema = schema;
    this.required = required;
    const id = `param-${name}`;
    this.input = inputFor(schema);
    Object.assign(this.input, { id, name: id, required: required && schema.type !== "boolean" });
    const hint = [schema.description, hintFor(schema, required)].filter(Boolean).join(" ");
    this.input.setAttribute("aria-describedby", hint ? `${id}-hint ${id}-error` : `${id}-error`);
    const label = element("label", { htmlFor: id, textContent: titleOf(name) });
    if (!required) label.append(" ", element("span", { className: "optional", textContent: "optional" }));
    this.element = element("div", { className: schema.type === "boolean" ? "field check" : "field" });
    this.element.append(label, this.input);
    if (hint) this.element.append(element("p", { id: `${id}-hint`, className: "hint", textContent: hint }));
    this.element.append(element("p", { id: `${id}-error`, className: "error", hidden: true }));
  }

  /** undefined when the field is empty. */
  read() {
    const text = this.input.value;
    switch (this.schema.type) {
      case "boolean":
        return this.input.checked || this.required ? this.input.checked : undefined;
      case "integer":
      case "number":
        return text === "" ? undefined : Number(text);
      case "string":
        if (text === "") return undefined;
        return this.schema.format === "date-time" ? new Date(text).toISOString() : text;
      case "array":
        return isListOfValues(this.schema) ? listOf(text, this.schema.items) : this.#json(text);
      default:
        return this.#json(text);
    }
  }

  write(value) {
    if (this.schema.type === "boolean") this.input.checked = value === true;
    else if (Array.isArray(value) && isListOfValues(this.schema)) this.input.value = value.join("\n");
    else this.input.value = typeof value === "string" ? value : JSON.stringify(value);
  }

  #json(text) {
    if (text.trim() === "") return undefined;
    try {
      return JSON.parse(text);
    } catch (error) {
      throw new SyntaxError(`${this.name} is not JSON: ${error.message}`);
    }
  }
}

function inputFor(schema) {
  if (schema.enum) {
    const options = schema.enum.filter((value) => value !== null && value !== "");
    const select = element("select", {});
    select.append(new Option("–", ""), ...options.map((value) => new Option(value, value)));
    return select;
  }
  switch (schema.type) {
    case "boolean":
      return element("input", { type: "checkbox" });
    case "integer":
      return element("input", { type: "number", step: "1", ...limits(schema) });
    case "number":
      return element("input", { type: "number", step: "any", ...limits(schema) });
    case "string":
      return schema.format in TYPES
        ? element("input", { type: TYPES[schema.format] })
        : element("input", { type: "text", ...(schema.maxLength ? { maxLength: schema.maxLength } : {}) });
    default:
      return element("textarea", { rows: 3, spellcheck: false, className: "code" });
  }
}

const TYPES = { date: "date", "date-time": "datetime-local" };

function limits({ minimum, maximum }) {
  return { ...(minimum === undefined ? {} : { min: minimum }), ...(maximum === undefined ? {} : { max: maximum }) };
}

function hintFor(schema, required) {
  if (schema.enum || schema.type === "boolean" || schema.type === "string") return "";
  if (schema.type === "array" && isListOfValues(schema)) return LIST_HINT;
  if (schema.type !== "integer" && schema.type !== "number") return OBJECT_HINT;
  const { minimum, maximum } = schema;
  if (minimum !== undefined && maximum !== undefined) return `${minimum} to ${maximum}.`;
  if (minimum !== undefined) return `At least ${minimum}.`;
  return maximum !== undefined ? `At most ${maximum}.` : "";
}

/** The schema with one type, without null: a field that is left empty is not sent. */
function plain(schema) {
  const variants = (schema.oneOf ?? schema.anyOf ?? schema.allOf ?? []).filter((variant) => !isNull(variant));
  const inner = variants.length === 1 ? { ...schema, ...variants[0] } : schema;
  const types = [inner.type ?? []].flat().filter((type) => type !== "null");
  return { ...inner, type: types.length === 1 ? types[0] : undefined };
}

function isNull(schema) {
  return schema.type === "null" || (schema.enum?.length === 1 && schema.enum[0] === null);
}

function isListOfValues({ items }) {
  return ["string", "integer", "number"].includes(items?.type);
}

function listOf(text, items) {
  const lines = text.split("\n").map((line) => line.trim()).filter(Boolean);
  if (!lines.length) return undefined;
  return items.type === "string" ? lines : lines.map(Number);
}

function element(name, properties) {
  return Object.assign(document.createElement(name), properties);
}
