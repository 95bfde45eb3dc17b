// Says to screen readers what happens by itself. Visible text is elsewhere.

const element = document.getElementById("announcements");

export function announce(text) {
  element.textContent = text;
}
