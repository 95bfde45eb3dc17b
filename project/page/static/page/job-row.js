// One job in the list.

import { address, post } from "./api.js";
import { copyOf, disclosure, onClick, toggle, write } from "./rows.js";
import { ago, capitalised, duration, exactly, explained, moment, oneLine } from "./words.js";

const RESTARTABLE = ["failed", "cancelled"];

export class JobRow {
  /** onAnswer(job, asked): called with the server's answer when the job was cancelled or retried here. */
  constructor(onAnswer) {
    const { element, part } = copyOf("job-row");
    this.element = element;
    this.part = part;
    disclosure(part(".details"), part(".row-details"), () => this.#writeDetails());
    const act = (path) => async () => {
      const asked = performance.now();
      onAnswer(await post(`jobs/${this.job.id}/${path}/`), asked);
    };
    onClick(part(".cancel"), part(".problem"), act("cancellation"), explained);
    onClick(part(".retry"), part(".problem"), act("retries"), explained);
  }

  update(job) {
    this.job = job;
    const { part } = this;
    this.element.dataset.status = job.status;
    write(part(".row-title"), job.kind);
    write(part(".status"), job.cancel_requested && !job.finished_at ? "Stopping" : capitalised(job.status));
    write(part(".row-summary"), oneLine(job.params) || "no params");
    part(".row-time").dateTime = job.created_at;
    part(".row-time").title = exactly(job.created_at);
    write(part(".row-time"), ago(job.created_at));
    write(part(".message"), stateOf(job));
    this.#writeProgress(job);
    this.#offerActions(job);
    if (!part(".row-details").hidden) this.#writeDetails();
  }

  #writeProgress({ kind, status, progress }) {
    const running = status === "running";
    const bar = this.part("progress");
    bar.value = progress.percent;
    bar.setAttribute("aria-label", `Progress of ${kind}`);
    write(this.part(".percent"), `${Math.round(progress.percent)} %`);
    this.part(".progress").hidden = !running;
  }

  #offerActions(job) {
    const details = this.part(".details");
    toggle(this.part(".cancel"), !job.finished_at && !job.cancel_requested, details);
    toggle(this.part(".retry"), RESTARTABLE.includes(job.status), details);
    const download = this.part(".download");
    const filename = filenameOf(job);
    toggle(download, Boolean(filename), details);
    if (filename) {
      // A plain link: the session cookie goes along by itself, and the browser saves the file.
      download.href = address(`jobs/${job.id}/output/`);
      download.setAttribute("aria-label", `Download ${filename}`);
    }
    for (const [button, verb] of [[".details", "Details of"], [".cancel", "Cancel"], [".retry", "Retry"]]) {
      this.part(button).setAttribute("aria-label", `${verb} ${job.kind}, ${ago(job.created_at)}`);
    }
  }

  #writeDetails() {
    const { job } = this;
    const facts = [
      ["Id", job.id],
      ["Attempts", job.max_attempts ? `${job.attempt} of ${job.max_attempts}` : String(job.attempt)],
      ["Created", exactly(job.created_at)],
      ["Started", job.started_at && exactly(job.started_at)],
      ["Finished", job.finished_at && exactly(job.finished_at)],
      ["Params", pretty(job.params)],
      ["Result", job.result === null ? null : pretty(job.result)],
      ...job.errors.map((error) => [`Attempt ${error.attempt}`, `${error.type}: ${error.message}`]),
    ];
    const list = document.createElement("dl");
    for (const [name, value] of facts.filter(([, value]) => value)) {
      list.append(
        Object.assign(document.createElement("dt"), { textContent: name }),
        Object.assign(document.createElement("dd"), { textContent: value }),
      );
    }
    this.part(".row-details").replaceChildren(list);
  }
}

/** One sentence about where the job stands. */
export function stateOf(job) {
  const last = job.errors.at(-1);
  switch (job.status) {
    case "scheduled":
      return `Starts ${moment(job.run_at)}`;
    case "queued":
      return "Waiting for a free worker";
    case "running":
      return job.progress.message || (job.attempt > 1 ? `Attempt ${job.attempt}` : "Running");
    case "retrying":
      return `Attempt ${job.attempt} failed: ${last?.message ?? "lost"}. Tries again ${moment(job.run_at)}`;
    case "succeeded":
      return [oneLine(job.result) || "Done", `took ${duration(job.started_at, job.finished_at)}`].join(" · ");
    case "failed":
      return job.error?.message || "Failed";
    case "cancelled":
      return job.started_at ? `Stopped at ${Math.round(job.progress.percent)} %` : "Cancelled before it started";
    default:
      return "";
  }
}

/** The name of the file that the job has produced, or "". Kinds that produce one name it in their result. */
function filenameOf(job) {
  return job.output?.filename ?? (job.status === "succeeded" && job.result?.filename) ?? "";
}

function pretty(value) {
  return JSON.stringify(value, null, 2);
}
