// The page of labels beyond plain HTML: a file that is too large is said before it is sent, and a
// screen reader hears when what is under way is done. A small export is a download, which leaves the
// page as it is: the list is asked for again.

import { announce, toast } from "./common.js";

const input = document.getElementById("import-file");

input?.form.addEventListener("submit", (event) => {
  const file = input.files[0];
  const most = Number(input.dataset.maxBytes);
  if (file === undefined || file.size <= most) return;
  event.preventDefault();
  toast(`The file is larger than ${Math.round(most / 1e6)} MB: divide it.`);
});

document.getElementById("export-form")?.addEventListener("submit", () => {
  for (const seconds of [1, 4]) setTimeout(askAgain, seconds * 1000);
});

let unfinished = left();

document.addEventListener("htmx:afterSettle", () => {
  if (left() < unfinished) announce("A file is ready, see the list of files.");
  unfinished = left();
});

// A list that cannot be asked for again says so once; the next try comes by itself.
document.addEventListener("htmx:sendError", () => announce("The server does not answer."));

function askAgain() {
  const list = document.getElementById("transfers");
  window.htmx.ajax("GET", list.dataset.files, { target: list, swap: "outerHTML" });
}

function left() {
  return Number(document.getElementById("transfers")?.dataset.unfinished ?? 0);
}
