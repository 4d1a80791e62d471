// What the pages do beyond plain HTML: drop, paste, preview, and sentences for what went wrong.
// Everything works without it, by a form and a button.

import { post, showTimesHere } from "./common.js";

const root = document.documentElement;
const form = document.getElementById("classify");
root.classList.add("js");

if (form) classifyPage(form);
showTimesHere(document);
document.addEventListener("htmx:load", (event) => showTimesHere(event.target));
document.addEventListener("htmx:configRequest", leaveOutEmpty);
document.querySelector(".appearance")?.addEventListener("submit", chooseAppearance);

function classifyPage(form) {
  const input = form.querySelector("input[type=file]");
  const frame = document.getElementById("frame");
  const preview = document.getElementById("preview");
  const previewName = document.getElementById("preview-name");
  const problem = document.getElementById("problem");
  const answer = document.getElementById("answer");
  const panel = answer.closest("section");
  const maxBytes = Number(form.dataset.maxBytes);
  const teacher = [...answer.childNodes];

  input.addEventListener("change", () => input.files.length && send());
  preview.addEventListener("error", showNameInstead);

  form.addEventListener("submit", (event) => {
    // A button press without JavaScript's help, too: too large is said before it is sent.
    if (isTooLarge(input.files[0])) event.preventDefault();
  });
  form.addEventListener("htmx:beforeRequest", () => panel.setAttribute("aria-busy", "true"));
  form.addEventListener("htmx:afterRequest", finish);
  form.addEventListener("htmx:sendError", () => say("problem-offline"));
  form.addEventListener("htmx:timeout", () => say("problem-offline"));
  document.addEventListener("htmx:beforeSwap", sortOutErrors);
  listenForDrops();
  document.addEventListener("paste", (event) => take(event.clipboardData.files, event));

  function take(files, event) {
    if (!files.length) return;
    event.preventDefault();
    const one = new DataTransfer();
    one.items.add(files[0]);
    input.files = one.files;
    send(files.length > 1);
  }

  function send(isOneOfSeveral = false) {
    problem.replaceChildren();
    show(input.files[0]);
    if (isTooLarge(input.files[0])) return say("problem-large");
    if (isOneOfSeveral) problem.append(sentence("problem-several"));
    form.requestSubmit();
  }

  function isTooLarge(file) {
    return file !== undefined && file.size > maxBytes;
  }

  function show(file) {
    URL.revokeObjectURL(preview.src);
    preview.src = URL.createObjectURL(file);
    preview.hidden = false;
    previewName.hidden = true;
    previewName.textContent = file.name;
    frame.classList.add("frame-filled");
  }

  // TIFF and HEIC: the browser cannot show them before the server has made a JPEG of them.
  function showNameInstead() {
    preview.hidden = true;
    previewName.hidden = false;
  }

  function finish(event) {
    panel.removeAttribute("aria-busy");
    // The same file may be chosen again, and then it must count as a change.
    input.value = "";
    const result = answer.querySelector(".result");
    if (!event.detail.successful || !result) return;
    if (preview.hidden) {
      preview.src = result.dataset.picture;
      preview.hidden = false;
      previewName.hidden = true;
    }
    if (window.matchMedia("(max-width: 47.99rem)").matches) panel.scrollIntoView();
  }

  function sortOutErrors(event) {
    if (event.detail.requestConfig.elt !== form) return;
    const { status } = event.detail.xhr;
    if (status < 400) {
      for (const line of problem.querySelectorAll(".problem:not(.problem-mild)")) line.remove();
      return;
    }
    // Our own sentence says where it belongs; anything else is a page of Django or of a proxy.
    const isOurs = event.detail.xhr.getResponseHeader("HX-Retarget") !== null;
    event.detail.shouldSwap = isOurs;
    answer.replaceChildren(...teacher);
    if (!isOurs) say({ 403: "problem-stale", 413: "problem-large" }[status] ?? "problem-server");
  }

  function say(id) {
    answer.replaceChildren(...teacher);
    problem.replaceChildren(sentence(id));
  }

  function sentence(id) {
    return document.getElementById(id).content.cloneNode(true);
  }

  function listenForDrops() {
    // Counted: entering a child fires before leaving its parent.
    let depth = 0;
    const mark = () => frame.classList.toggle("frame-over", depth > 0);
    const hasFiles = (event) => event.dataTransfer.types.includes("Files");
    window.addEventListener("dragenter", (event) => {
      if (!hasFiles(event)) return;
      depth += 1;
      mark();
    });
    window.addEventListener("dragleave", (event) => {
      if (!hasFiles(event)) return;
      depth -= 1;
      mark();
    });
    // Without this a picture that misses the frame would replace the page.
    window.addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
    window.addEventListener("drop", (event) => {
      depth = 0;
      mark();
      take(event.dataTransfer.files, event);
    });
  }
}

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
