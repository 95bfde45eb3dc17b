// A list of rows that stays as it is while they change: newest first, each row one element that is updated in place.

/** makeRow() gives an object with `element` and `update(item)`. Items have an `id`, a UUIDv7, which sorts by age. */
export class Rows {
  #rows = new Map();

  constructor(list, makeRow) {
    this.list = list;
    this.makeRow = makeRow;
  }

  get size() {
    return this.#rows.size;
  }

  /**
   * Add or update the item's row. asOf: when it was asked for; an answer that was asked for before the row's latest
   * update is out of date, and ignored. Returns true for a new row.
   */
  put(item, asOf = performance.now()) {
    const known = this.#rows.get(item.id);
    if (known && asOf < known.updated) return false;
    const row = known ?? this.#add(item);
    row.item = item;
    row.updated = performance.now();
    row.update(item);
    return !known;
  }

  #add(item) {
    const row = this.makeRow();
    row.element.dataset.id = item.id;
    const older = [...this.list.children].find((element) => element.dataset.id < item.id);
    this.list.insertBefore(row.element, older ?? null);
    this.#rows.set(item.id, row);
    return row;
  }

  get(id) {
    return this.#rows.get(id);
  }

  /** Scroll to the row if it is out of sight, as it is below an open form on a narrow screen. */
  reveal(id) {
    this.get(id).element.scrollIntoView({ block: "nearest" });
  }

  /** The items that are not finished. */
  unfinished() {
    return [...this.#rows.values()].map((row) => row.item).filter((item) => !item.finished_at);
  }

  clear() {
    this.#rows.clear();
    this.list.replaceChildren();
  }
}

/** A copy of a template, and part(selector), which finds an element in it. */
export function copyOf(templateId) {
  const element = document.getElementById(templateId).content.firstElementChild.cloneNode(true);
  return { element, part: (selector) => element.querySelector(selector) };
}

/** Hide or show. If the element that is hidden has the focus, `instead` gets it: keyboard users keep their place. */
export function toggle(element, shown, instead) {
  if (!shown && element === document.activeElement) instead.focus();
  element.hidden = !shown;
}

/** Text that is only written when it differs, so that selections and screen readers are left in peace. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A button that shows and hides another element. onOpen is called each time it is opened. */
export function disclosure(button, panel, onOpen = () => {}) {
  button.addEventListener("click", () => {
    panel.hidden = !panel.hidden;
    button.setAttribute("aria-expanded", String(!panel.hidden));
    if (!panel.hidden) onOpen();
  });
}

/** Call action() on a click, once at a time; what goes wrong is said in the row. */
export function onClick(button, problem, action, explain) {
  button.addEventListener("click", async () => {
    if (button.getAttribute("aria-disabled") === "true") return;
    button.setAttribute("aria-disabled", "true");
    problem.hidden = true;
    try {
      await action();
    } catch (error) {
      problem.textContent = explain(error);
      problem.hidden = false;
    } finally {
      button.removeAttribute("aria-disabled");
    }
  });
}
