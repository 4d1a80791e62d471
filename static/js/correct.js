// Correcting an answer without leaving the page. The forms work without it.

import { announce, post, showTimesHere, toast } from "./common.js";

document.addEventListener("submit", (event) => {
  const form = event.target;
  const part = form.closest(".correct");
  if (!part) return;
  event.preventDefault();
  send(part, form.action, new FormData(form, event.submitter));
});
document.addEventListener("toggle", startFinding, true);
document.addEventListener("input", (event) => {
  if (event.target.matches(".correct-find")) find(event.target);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.target.matches(".correct-find")) takeFirst(event);
});

async function send(part, url, fields) {
  part.setAttribute("aria-busy", "true");
  try {
    const response = await post(url, fields);
    const text = await response.text();
    if (response.ok) show(part.id, text);
    else toast(sentence(response, text));
  } catch {
    toast("This was not kept: the connection or the server is not there. Try again in a moment.");
  } finally {
    part.removeAttribute("aria-busy");
  }
}

// The part may have been replaced meanwhile, or be on the page twice: what shows it is changed.
function show(id, html) {
  const made = document.createElement("template");
  made.innerHTML = html;
  const fresh = made.content.querySelector(".correct");
  for (const old of document.querySelectorAll(`#${CSS.escape(id)}`)) {
    const hadFocus = old.contains(document.activeElement);
    const one = fresh.cloneNode(true);
    old.replaceWith(one);
    showTimesHere(one);
    if (hadFocus) one.focus({ preventScroll: true });
  }
  const { done, undo } = fresh.dataset;
  if (!done) return;
  announce(done);
  toast(done, undo ? { undo: { label: "Undo", run: () => takeBack(id, undo) } } : {});
}

function takeBack(id, url) {
  const part = document.getElementById(id) ?? document.createElement("section");
  part.id = id;
  send(part, url, {});
}

// Ours is a plain sentence; a page of HTML is Django's or a proxy's.
function sentence(response, text) {
  const isOurs = response.headers.get("Content-Type")?.startsWith("text/plain");
  if (isOurs) return text;
  if (response.status === 403) return "This page is out of date. Reload it, then try again.";
  return "This was not kept: something went wrong on our side. Try again.";
}

function startFinding(event) {
  const field = event.target.matches?.(".correct-other[open]") && event.target.querySelector(".correct-find");
  if (!field) return;
  field.hidden = false;
  field.focus();
}

function find(field) {
  const wanted = field.value.trim().toLowerCase();
  const choice = field.closest(".correct-choice");
  let found = 0;
  for (const button of choice.querySelectorAll(".correct-labels button")) {
    button.hidden = !button.textContent.toLowerCase().includes(wanted);
    if (!button.hidden) found += 1;
  }
  choice.querySelector(".correct-nothing").hidden = found > 0;
}

// Enter takes the label when typing has left but one.
function takeFirst(event) {
  event.preventDefault();
  const left = event.target.closest(".correct-choice").querySelectorAll(".correct-labels button:not([hidden])");
  if (left.length === 1) event.target.form.requestSubmit(left[0]);
}
