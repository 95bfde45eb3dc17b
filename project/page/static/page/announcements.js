// Tells screen readers what has changed on the page. Visible text is elsewhere.

const element = document.getElementById("announcements");

export function announce(text) {
  element.textContent = text;
}
