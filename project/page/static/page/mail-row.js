// One message in the list, with its timeline.

import { get, post } from "./api.js";
import { copyOf, disclosure, onClick, toggle, write } from "./rows.js";
import { ago, capitalised, exactly, explained, moment } from "./words.js";

const BEFORE_SENDING = ["scheduled", "queued"];

export class MailRow {
  /** onAnswer(message, asked): called with the server's answer when the message was cancelled or sent again here. */
  constructor(onAnswer) {
    const { element, part } = copyOf("mail-row");
    this.element = element;
    this.part = part;
    this.timeline = [];
    disclosure(part(".details"), part(".timeline"), () => this.#load());
    const act = (path) => async () => {
      const asked = performance.now();
      onAnswer(await post(`mail/messages/${this.message.id}/${path}/`), asked);
    };
    onClick(part(".cancel"), part(".problem"), act("cancellation"), explained);
    onClick(part(".resend"), part(".problem"), act("resends"), explained);
  }

  /** Show the timeline. */
  open() {
    if (this.part(".timeline").hidden) this.part(".details").click();
  }

  update(message) {
    this.message = message;
    const { part } = this;
    this.element.dataset.status = message.status;
    write(part(".row-title"), message.subject || "(no subject)");
    write(part(".status"), capitalised(message.status));
    write(part(".row-summary"), `to ${message.to || "an erased address"}`);
    part(".row-time").dateTime = message.created_at;
    part(".row-time").title = exactly(message.created_at);
    write(part(".row-time"), ago(message.created_at));
    write(part(".message"), stateOf(message));
    toggle(part(".cancel"), BEFORE_SENDING.includes(message.status), part(".details"));
    toggle(part(".resend"), Boolean(message.finished_at) && message.status !== "suppressed", part(".details"));
    for (const [button, verb] of [[".details", "Timeline of"], [".cancel", "Cancel"], [".resend", "Send again"]]) {
      part(button).setAttribute("aria-label", `${verb} “${message.subject}” to ${message.to}`);
    }
    if (message.timeline) this.#writeTimeline(message.timeline);
  }

  async #load() {
    if (this.timeline.length) return;
    try {
      const { data } = await get(`mail/messages/${this.message.id}/`);
      this.update(data);
    } catch (error) {
      Object.assign(this.part(".problem"), { textContent: explained(error), hidden: false });
    }
  }

  /** If entries were only added, as usual, the elements that are there stay. */
  #writeTimeline(timeline) {
    const same = this.timeline.every((entry, index) => JSON.stringify(entry) === JSON.stringify(timeline[index]));
    const entries = same ? timeline.slice(this.timeline.length) : timeline;
    if (!same) this.part(".timeline").replaceChildren();
    this.timeline = timeline;
    this.part(".timeline").append(...entries.map(entryElement));
  }
}

function entryElement({ at, type, detail, provider }) {
  const item = document.createElement("li");
  const time = Object.assign(document.createElement("time"), { dateTime: at, textContent: moment(at), title: exactly(at) });
  const what = Object.assign(document.createElement("strong"), { textContent: capitalised(type.replaceAll("_", " ")) });
  const rest = [provider && `by ${provider}`, detail].filter(Boolean).join(": ");
  item.append(time, " ", what, " ", Object.assign(document.createElement("span"), { textContent: rest }));
  return item;
}

function stateOf(message) {
  if (message.status === "complained") return "The recipient reported it as spam";
  if (message.status === "suppressed") return `Not sent: ${message.failure.detail}`;
  if (message.failure) return message.failure.detail;
  const { status, provider, opens, clicks } = message;
  if (status === "scheduled") return `Will be sent ${moment(message.send_at)}`;
  if (status === "queued") return "Waiting to be sent";
  if (status === "sending") return "Being handed to a provider";
  if (status === "deferred") return "The receiver asked to try later; it is tried again";
  const figures = [opens && `opened ${opens} ×`, clicks && `clicked ${clicks} ×`].filter(Boolean);
  return [provider ? `Sent by ${provider}` : "", ...figures].filter(Boolean).join(" · ");
}
