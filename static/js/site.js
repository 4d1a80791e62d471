// What every page does beyond plain HTML. Everything works without it, by links and forms.

import { post, showTimesHere } from "./common.js";

const root = document.documentElement;
root.classList.add("js");

showTimesHere(document);
document.addEventListener("htmx:load", (event) => showTimesHere(event.target));
document.addEventListener("htmx:configRequest", leaveOutEmpty);
document.querySelector(".appearance")?.addEventListener("submit", chooseAppearance);

// A filter's address is for sharing: what was not chosen does not stand in it.
function leaveOutEmpty(event) {
  if (event.detail.verb !== "get") return;
  for (const [name, value] of [...event.detail.formData]) {
    if (value === "") event.detail.formData.delete(name);
  }
}

// The page changes at once; the cookie is for the next one. Without it the form does both.
async function chooseAppearance(event) {
  event.preventDefault();
  const chosen = event.submitter;
  for (const button of event.target.querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(button === chosen));
  }
  if (chosen.value) root.dataset.theme = chosen.value;
  else delete root.dataset.theme;
  await post(event.target.action, { theme: chosen.value });
}
