// What the pages' own modules share. Importing it does nothing by itself.

const TOAST_SECONDS = 7;

// Say something for a while at the foot of the window. `undo` is { label, run }: a button that takes
// it back; the toast stays while the pointer or the focus is on it. `gone` is called when it goes
// without that button, by itself or closed.
export function toast(text, { undo, gone } = {}) {
  const line = document.createElement("div");
  line.className = "toast-line";
  const words = document.createElement("p");
  words.textContent = text;
  line.append(words);
  let timer;
  const close = () => {
    clearTimeout(timer);
    line.remove();
  };
  const end = () => {
    if (!line.isConnected) return;
    close();
    gone?.();
  };
  if (undo) line.append(button(undo.label ?? "Undo", () => { close(); undo.run(); }));
  const cross = button("\u2715", end);
  cross.className = "toast-close";
  cross.setAttribute("aria-label", "Close");
  line.append(cross);
  const held = new Set();
  const wait = () => {
    clearTimeout(timer);
    if (!held.size) timer = setTimeout(end, TOAST_SECONDS * 1000);
  };
  for (const [begins, ends] of [["pointerenter", "pointerleave"], ["focusin", "focusout"]]) {
    line.addEventListener(begins, () => { held.add(begins); clearTimeout(timer); });
    line.addEventListener(ends, () => { held.delete(begins); wait(); });
  }
  document.getElementById("toasts").append(line);
  wait();
  return close;
}

// Send a form's fields with the token against forgery; resolves to the Response, whatever its status.
export function post(url, fields = {}, options = {}) {
  const body = fields instanceof FormData ? fields : new URLSearchParams(fields);
  const headers = { "X-CSRFToken": csrfToken(), "X-Requested-With": "fetch", ...options.headers };
  return fetch(url, { ...options, method: "POST", body, headers });
}

// The token of the page: every page has at least the form that chooses its appearance.
export function csrfToken() {
  return document.querySelector("[name=csrfmiddlewaretoken]")?.value ?? "";
}

// Have a screen reader say it, without moving anybody's focus.
export function announce(text) {
  document.getElementById("spoken").textContent = text;
}

// The server writes UTC; the reader's own clock is the better one to read.
export function showTimesHere(container) {
  for (const time of container.querySelectorAll("time[datetime]:not([title])")) {
    const moment = new Date(time.dateTime);
    time.title = time.textContent;
    time.textContent = moment.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
  }
}

function button(label, run) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = label;
  made.addEventListener("click", run);
  return made;
}
