// What the page says: names of statuses, times, errors. Plain text only.

import { ApiError } from "./api.js";

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const TOO_MANY = { rate_limited: "Too many requests.", too_many_passwords: "Too many wrong passwords." };
const relative = new Intl.RelativeTimeFormat("en", { style: "narrow" });
const clock = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
const calendar = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });

/** "running" → "Running". */
export function capitalised(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** "just now", "5min ago", "in 2h", or a date. */
export function ago(time, now = Date.now()) {
  const passed = (now - Date.parse(time)) / 1000;
  const size = Math.abs(passed);
  const direction = passed > 0 ? -1 : 1;
  if (size < 10) return "just now";
  if (size < MINUTE) return relative.format(direction * Math.round(size), "second");
  if (size < HOUR) return relative.format(direction * Math.round(size / MINUTE), "minute");
  if (size < DAY) return relative.format(direction * Math.round(size / HOUR), "hour");
  return calendar.format(new Date(time));
}

/** The time of day, with the date when it is not today. */
export function moment(time) {
  const date = new Date(time);
  return date.toDateString() === new Date().toDateString() ? clock.format(date) : calendar.format(date);
}

/** Date, time and seconds, for a tooltip. */
export function exactly(time) {
  return new Date(time).toLocaleString("en-GB", { dateStyle: "full", timeStyle: "long" });
}

export function duration(from, to) {
  const total = Math.max(0, (Date.parse(to) - Date.parse(from)) / 1000);
  if (total < 10) return `${total.toFixed(1)} s`;
  if (total < MINUTE) return `${Math.round(total)} s`;
  const minutes = Math.floor(total / MINUTE);
  return minutes < 60 ? `${minutes} min ${Math.round(total % MINUTE)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** A JSON object on one line: "seconds: 20 · error: transient". */
export function oneLine(value) {
  if (value === null || typeof value !== "object") return String(value ?? "");
  if (Array.isArray(value)) return JSON.stringify(value);
  return Object.entries(value)
    .map(([name, item]) => `${name}: ${typeof item === "object" ? JSON.stringify(item) : item}`)
    .join(" · ");
}

/** explained() for what the page tries again by itself. */
export function triedAgain(error) {
  return `${explained(error)} This page tries again by itself.`;
}

/** A sentence for people, whatever went wrong. */
export function explained(error) {
  if (!(error instanceof ApiError)) return error.message;
  if (error.status === 429) return `${TOO_MANY[error.code] ?? error.message} Try again in ${error.retryAfter ?? 60} s.`;
  if (error.status >= 500 && error.status !== 503) {
    return `Something went wrong on the server. It has been logged as ${error.reference}.`;
  }
  return error.message;
}
