// The front page: pictures are dropped, chosen, pasted or named, and each gets its answer in place.
// Without this the page is a form and a button, and answers have pages of their own.

import { Cards, factsOf, moveByArrows, sayOf, showLevel } from "./classify-cards.js";
import { Queue } from "./classify-queue.js";
import { forget, remember, remembered } from "./classify-session.js";
import { addressesIn, filesOfDrop, hasFiles, inOrder, looksLikePicture, nameOfAddress } from "./classify-sources.js";
import { announce, csrfToken, showTimesHere, toast } from "./common.js";

const PHONE = matchMedia("(max-width: 47.99rem)");
const SPEAK_EVERY_MS = 6_000;

const byId = (id) => document.getElementById(id);
const form = byId("classify");
const frame = byId("frame");
const preview = byId("preview");
const previewName = byId("preview-name");
const problem = byId("problem");
const answer = byId("answer");
const panel = answer.closest("section");
const workbench = byId("workbench");
const maxBytes = Number(form.dataset.maxBytes);
const { person } = form.dataset;
const before = remembered(person);

let teacher = [...answer.childNodes];
let selected = null;
let spokenAt = 0;
let isSheetDue = false;

const queue = new Queue({
  url: form.action,
  headers: () => ({ "HX-Request": "true", "X-CSRFToken": csrfToken() }),
  isKnown: "known" in form.dataset,
  // Not the page of a proxy that wants one to sign in.
  isAnswer: (html) => "page" in factsOf(html),
  problemOf,
});
const cards = new Cards({ list: byId("cards"), template: byId("card"), open, act: cancelOrRetry });

queue.addEventListener("change", (event) => changed(event.detail));
queue.addEventListener("done", sayDone);
listenToForm();
listenForDrops();
document.addEventListener("paste", paste);
preview.addEventListener("error", showNameInstead);
window.addEventListener("beforeunload", (event) => queue.unfinished && event.preventDefault());
window.addEventListener("pagehide", keepSession);
showEarlier();

// -- what is taken -----------------------------------------------------------------------------------

function listenToForm() {
  const picked = (input, fromFolder) => () => {
    // The same file may be chosen again, and then it must count as a change.
    const files = [...input.files];
    input.value = "";
    take(files, fromFolder);
  };
  for (const id of ["image", "camera"]) byId(id).addEventListener("change", picked(byId(id), false));
  byId("folder").addEventListener("change", picked(byId("folder"), true));
  form.addEventListener("submit", submit);
  byId("model")?.addEventListener?.("change", changeModel);
  form.addEventListener("change", countBeside);
  byId("cancel-all").addEventListener("click", () => queue.cancelAll());
  byId("retry-all").addEventListener("click", () => queue.retryAll());
  byId("clear-all").addEventListener("click", clear);
  byId("forget-earlier").addEventListener("click", hideEarlier);
}

function submit(event) {
  event.preventDefault();
  const sample = event.submitter?.closest("[name=sample]");
  if (sample) return takeSample(sample);
  const field = byId("url");
  const text = field?.value.trim() ?? "";
  if (text) return takeAddresses(addressesIn(/^[a-z]+:/i.test(text) ? text : `https://${text}`), field);
  byId("image").click();
}

function take(files, fromFolder = false) {
  const pictures = fromFolder ? inOrder(files).filter(looksLikePicture) : files;
  if (!files.length) return;
  if (!pictures.length) return say("problem-none");
  const left = files.length - pictures.length;
  if (left) toast(`${count(left, "file is no picture and was", "files are no pictures and were")} left out.`);
  enqueue(pictures.map((file) => ({ kind: "file", name: file.name, file, ...refusal(file) })));
}

function takeAddresses(addresses, field) {
  if (!addresses.length) {
    say("problem-address");
    return field?.focus();
  }
  if (field) field.value = "";
  enqueue(addresses.map((url) => ({ kind: "url", name: nameOfAddress(url), url })));
}

function takeSample(button) {
  const image = button.querySelector("img");
  enqueue([{ kind: "sample", name: image.alt, sample: button.value, source: image.src }]);
}

// What cannot be a picture for us is said before it is sent.
function refusal(file) {
  const id = file.size > maxBytes ? "problem-large" : looksLikePicture(file) ? "" : "problem-kind";
  return id ? { problem: sentence(id), isRefused: true } : {};
}

function enqueue(items) {
  const fields = [...new FormData(form)].filter(([name]) => name === "model" || name === "beside");
  for (const item of items) Object.assign(item, { fields, progress: 0, isAlone: items.length === 1 });
  problem.replaceChildren();
  queue.add(items);
  cards.add(items);
  select(items[0]);
  showSheet();
  if (items.length < 2) return;
  announce(`${items.length} pictures are being classified.`);
  if (PHONE.matches) byId("sheet").scrollIntoView();
}

function paste(event) {
  const { files } = event.clipboardData;
  if (files.length) {
    event.preventDefault();
    return take([...files]);
  }
  if (!byId("url") || event.target.closest?.("input, textarea")) return;
  const addresses = addressesIn(event.clipboardData.getData("text/plain"));
  if (addresses.length) takeAddresses(addresses);
}

function listenForDrops() {
  // Counted: entering a child fires before leaving its parent.
  let depth = 0;
  const mark = () => frame.classList.toggle("frame-over", depth > 0);
  const canTake = (event) =>
    hasFiles(event.dataTransfer) || (byId("url") !== null && event.dataTransfer.types.includes("text/uri-list"));
  const step = (by) => (event) => {
    if (!canTake(event)) return;
    depth += by;
    mark();
  };
  addEventListener("dragenter", step(1));
  addEventListener("dragleave", step(-1));
  // Without this a picture that misses the frame would replace the page.
  addEventListener("dragover", (event) => canTake(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    depth = 0;
    mark();
    if (!canTake(event)) return;
    event.preventDefault();
    drop(event.dataTransfer);
  });
}

async function drop(transfer) {
  if (!hasFiles(transfer)) return takeAddresses(addressesIn(transfer.getData("text/uri-list")));
  try {
    const { files, fromFolder } = await filesOfDrop(transfer);
    take(files, fromFolder);
  } catch {
    say("problem-none");
  }
}

// -- what is shown -----------------------------------------------------------------------------------

function parse(html) {
  const parsed = document.createElement("template");
  parsed.innerHTML = html;
  return parsed.content;
}

function changed({ item, from }) {
  if (item.state === "answered") item.facts = factsOf(item.html);
  cards.refresh(item);
  if (item === selected && item.state !== from) showState(item);
  showSheetSoon();
  if (item.state === "answered") {
    keepSession();
    if (!item.isAlone) sayProgress();
  }
}

function open(item) {
  select(item);
  announce(item.state === "answered" ? item.facts.summary : sayOf(item));
  workbench.scrollIntoView({ block: "start" });
}

function select(item) {
  if (selected) mark(selected, false);
  selected = item;
  mark(item, true);
  showPreview(item);
  showState(item);
}

function mark(item, isSelected) {
  item.isSelected = isSelected;
  cards.select(item, isSelected);
}

function showState(item) {
  const isUnderWay = ["waiting", "sending", "looking"].includes(item.state);
  workbench.classList.toggle("is-busy", isUnderWay);
  panel.toggleAttribute("aria-busy", isUnderWay);
  if (item.state === "answered") return showAnswer(item);
  answer.replaceChildren(...teacher);
  if (item.problem) problem.replaceChildren(item.problem.cloneNode(true));
  else problem.replaceChildren();
}

function showAnswer(item) {
  problem.replaceChildren();
  // Kept as they are: what was corrected or opened in an answer still is when one comes back to it.
  const isNew = !item.nodes;
  item.nodes ??= [...parse(item.html).childNodes];
  answer.replaceChildren(...item.nodes);
  if (isNew) showTimesHere(answer);
  if (preview.hidden) showPicture(item.facts.picture);
  if (!item.isAlone || item.wasSaid) return;
  item.wasSaid = true;
  announce(item.facts.summary);
  if (PHONE.matches) goToAnswer();
}

// There it stands above the other ways in, and behind them in the document: keys and screen readers
// are taken along, but not out of a field that somebody writes in.
function goToAnswer() {
  workbench.scrollIntoView();
  if (!document.activeElement?.matches("input[type=text]")) panel.focus({ preventScroll: true });
}

function showPreview(item) {
  URL.revokeObjectURL(preview.src);
  previewName.textContent = item.name;
  frame.classList.add("frame-filled");
  const source = item.file ? URL.createObjectURL(item.file) : (item.source ?? item.facts?.picture);
  if (source) showPicture(source);
  else showNameInstead();
}

function showPicture(source) {
  preview.src = source;
  preview.hidden = false;
  previewName.hidden = true;
}

// TIFF, HEIC and what is elsewhere: shown once the server has answered.
function showNameInstead() {
  preview.hidden = true;
  previewName.hidden = false;
  if (selected?.facts && preview.src !== new URL(selected.facts.picture, location.href).href) showPicture(selected.facts.picture);
}

// A thousand changes in one moment are one change to see.
function showSheetSoon() {
  if (isSheetDue) return;
  isSheetDue = true;
  requestAnimationFrame(showSheet);
}

function showSheet() {
  isSheetDue = false;
  const { items, unfinished } = queue;
  byId("sheet").hidden = items.length < 2;
  if (items.length < 2) return;
  const over = items.length - unfinished;
  byId("sheet-progress").max = items.length;
  byId("sheet-progress").value = over;
  byId("sheet").classList.toggle("is-over", unfinished === 0);
  byId("sheet-line").textContent = unfinished ? `${over} of ${items.length}${pace(unfinished)}` : tally();
  byId("cancel-all").hidden = unfinished === 0;
  byId("retry-all").hidden = unfinished > 0 || !items.some(canRetry);
  byId("clear-all").hidden = unfinished > 0;
  byId("sheet-title").textContent = `${items.length} pictures`;
}

function canRetry(item) {
  return (item.state === "failed" || item.state === "cancelled") && !item.isRefused;
}

function pace(left) {
  const { rate } = queue;
  if (!rate) return "";
  const shown = rate < 10 ? rate.toFixed(1) : Math.round(rate);
  return ` \u00b7 ${shown} a second \u00b7 ${timeLeft(left / rate)} left`;
}

function timeLeft(seconds) {
  if (seconds < 1.5) return "a second";
  if (seconds < 90) return `${Math.round(seconds)} seconds`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} minutes`;
  return `${(seconds / 3600).toFixed(1)} hours`;
}

function tally() {
  const { answered, failed, cancelled } = queue.counts;
  const said = [];
  if (answered) said.push(`${answered} answered`);
  if (failed) said.push(`${failed} failed`);
  if (cancelled) said.push(`${cancelled} cancelled`);
  return said.join(", ");
}

function clear() {
  before.answers.push(...answersNow());
  before.unsent = 0;
  queue.clear();
  cards.clear();
  selected = null;
  frame.classList.remove("frame-filled");
  URL.revokeObjectURL(preview.src);
  preview.removeAttribute("src");
  preview.hidden = true;
  previewName.hidden = true;
  workbench.classList.remove("is-busy");
  problem.replaceChildren();
  answer.replaceChildren(...teacher);
  showSheet();
  byId("image").focus();
}

// Enough for a screen reader to follow, and not every card.
function sayProgress() {
  const now = performance.now();
  if (!queue.unfinished || now - spokenAt < SPEAK_EVERY_MS) return;
  spokenAt = now;
  announce(`${queue.items.length - queue.unfinished} of ${queue.items.length}.`);
}

function sayDone() {
  keepSession();
  showSheet();
  if (queue.items.some((item) => !item.isAlone)) announce(`Done: ${tally()}.`);
}

// -- model, side by side -------------------------------------------------------------------------------

async function changeModel(event) {
  const response = await fetch(`${form.action}?model=${encodeURIComponent(event.target.value)}`, {
    headers: { "HX-Request": "true" },
  }).catch(() => null);
  if (!response?.ok) return say("problem-offline");
  const parts = parse(await response.text());
  const part = (name) => parts.querySelector(`[data-part=${name}]`);
  const isTeaching = teacher.some((node) => node.isConnected);
  teacher = [...part("teacher").childNodes];
  if (isTeaching) answer.replaceChildren(...teacher);
  byId("samples").replaceChildren(...part("samples").childNodes);
  byId("who").textContent = part("who").textContent;
}

function countBeside() {
  const ticks = [...form.querySelectorAll("[name=beside]")];
  const ticked = ticks.filter((tick) => tick.checked).length;
  const isFull = ticked >= Number(form.dataset.mostBeside);
  for (const tick of ticks) tick.disabled = isFull && !tick.checked;
  const count = byId("beside-count");
  if (!count) return;
  count.hidden = ticked === 0;
  count.textContent = ticked;
}

function cancelOrRetry(item) {
  if (item.state === "failed" || item.state === "cancelled") queue.retry(item);
  else queue.cancel(item);
}

// -- sentences -----------------------------------------------------------------------------------------

function problemOf(request) {
  if (request.status === 0) return sentence("problem-offline");
  // Our own sentence says where it belongs; anything else is a page of Django or of a proxy.
  if (request.getResponseHeader("HX-Retarget") === null) {
    return sentence({ 403: "problem-stale", 413: "problem-large" }[request.status] ?? "problem-server");
  }
  return parse(request.responseText).querySelector(".problem") ?? sentence("problem-server");
}

function say(id) {
  problem.replaceChildren(sentence(id));
}

function sentence(id) {
  return byId(id).content.firstElementChild.cloneNode(true);
}

// -- the last answers of this session --------------------------------------------------------------------

function keepSession() {
  const all = [...before.answers, ...answersNow()];
  if (all.length || queue.unfinished) remember(person, all, queue.unfinished);
}

function answersNow() {
  return queue.items.filter((item) => item.facts).map((item) => ({ ...item.facts, name: item.name }));
}

function showEarlier() {
  if (!before.answers.length && !before.unsent) return;
  byId("earlier").hidden = false;
  byId("earlier-line").textContent = earlierLine();
  const drawn = document.createDocumentFragment();
  for (const facts of [...before.answers].reverse()) drawn.append(earlierCard(facts));
  byId("earlier-cards").append(drawn);
  byId("earlier-cards").addEventListener("keydown", moveByArrows);
  // What was not sent is said once.
  remember(person, before.answers, 0);
}

function earlierLine() {
  const { answers, unsent } = before;
  const said = [];
  if (answers.length) said.push(`${count(answers.length, "answer", "answers")}, kept in your history.`);
  if (unsent) said.push(`${count(unsent, "picture was", "pictures were")} not answered when you left: choose them again.`);
  return said.join(" ");
}

function count(number, one, many) {
  return `${number} ${number === 1 ? one : many}`;
}

function earlierCard(facts) {
  const card = byId("card").content.firstElementChild.cloneNode(true);
  const link = document.createElement("a");
  link.className = "card-open";
  link.href = facts.page;
  link.append(...card.querySelector(".card-open").childNodes);
  card.querySelector(".card-open").replaceWith(link);
  card.querySelector(".card-act").remove();
  card.querySelector("progress").remove();
  card.dataset.state = "answered";
  showLevel(card, facts);
  card.querySelector(".card-said").textContent = facts.label;
  card.querySelector(".card-name").textContent = facts.name;
  const image = Object.assign(document.createElement("img"), { alt: "", loading: "lazy", decoding: "async", src: facts.thumbnail });
  // Deleted meanwhile: what is gone is not offered.
  image.addEventListener("error", () => card.remove());
  card.querySelector(".card-frame").replaceChildren(image);
  return card;
}

function hideEarlier() {
  before.answers = [];
  before.unsent = 0;
  forget();
  keepSession();
  byId("earlier").hidden = true;
}
