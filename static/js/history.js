// What the history does beyond plain forms and links: keys, ranges, and deleting that can be undone.
// The list is replaced whenever the filter or the page changes, so listeners sit on the document.

import { announce, post, showTimesHere, toast } from "./common.js";

const past = () => document.getElementById("past");
const entries = () => [...past().querySelectorAll("[data-entry]")];
const box = (entry) => entry.querySelector("[name=ids]");
const link = (entry) => entry.querySelector("a");
const boxes = () => entries().map(box).filter((one) => !one.disabled);
const chosen = () => boxes().filter((one) => one.checked);
const going = new Set();
let lastBox = null;
// Where the keys were: after a correction they go on from there.
let lastPlace = -1;
let isRefreshing = false;

document.addEventListener("click", clicked);
document.addEventListener("change", changed);
document.addEventListener("keydown", pressed);
document.addEventListener("submit", submitted);
document.addEventListener("htmx:configRequest", sayWhichDays);
document.addEventListener("htmx:afterSettle", settled);
window.addEventListener("pageshow", showCount);
sayZone();
showCount();

// -- choosing ----------------------------------------------------------------------------------

function clicked(event) {
  const { target } = event;
  if (target.matches?.("#past [name=ids]")) chooseUpTo(target, event.shiftKey);
  if (target.closest("[data-select-all]")) chooseAll(chosen().length < boxes().length);
  if (target.closest("[data-clear]")) chooseAll(false);
  if (target.closest("[data-keys]")) document.getElementById("history-keys").showModal();
  for (const menu of document.querySelectorAll(".menu[open]")) {
    if (!menu.contains(target)) menu.open = false;
  }
}

// With Shift all between the box before and this one become as this one is.
function chooseUpTo(target, isRange) {
  const all = boxes();
  if (isRange && lastBox && all.includes(lastBox)) {
    const [from, to] = [all.indexOf(lastBox), all.indexOf(target)].sort((a, b) => a - b);
    for (const one of all.slice(from, to + 1)) one.checked = target.checked;
  }
  lastBox = target;
  showCount();
}

function chooseAll(isChosen) {
  for (const one of boxes()) one.checked = isChosen;
  showCount();
}

function changed(event) {
  if (event.target.matches("#past [name=ids]")) showCount();
}

function showCount() {
  const count = chosen().length;
  const words = count ? `${count} selected` : "";
  const shown = past().querySelector("[data-count]");
  if (!shown) return;
  if (shown.textContent !== words) announce(words || "None selected");
  shown.textContent = words;
  const all = past().querySelector("[data-select-all]");
  all?.setAttribute("aria-pressed", String(count > 0 && count === boxes().length));
}

// -- keys ----------------------------------------------------------------------------------------

const ARROWS = { ArrowLeft: [-1, false], ArrowRight: [1, false], ArrowUp: [-1, true], ArrowDown: [1, true] };

function pressed(event) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (document.querySelector("dialog[open]") || isWriting(event.target)) return;
  const at = entries().findIndex((entry) => entry.contains(document.activeElement));
  if (acted(event, at)) event.preventDefault();
}

function isWriting(target) {
  return target.matches("textarea, select, [contenteditable], input:not([type=checkbox])");
}

function acted(event, at) {
  const { key } = event;
  if (key in ARROWS) return at >= 0 && moveByArrow(key, at);
  if (key === "j" || key === "k") return at < 0 ? moveBack() : moveTo(at + (key === "j" ? 1 : -1));
  if (key === "x" || key === "X") return at >= 0 && toggle(entries()[at], event.shiftKey);
  if (key === "a") return !chooseAll(chosen().length < boxes().length);
  if (key === "Escape") return closeOrClear();
  if (key === "/") return !document.getElementById("id_q")?.focus();
  if (key === "?") return !document.getElementById("history-keys").showModal();
  return false;
}

function moveByArrow(key, at) {
  const [step, isVertical] = ARROWS[key];
  return moveTo(at + step * (isVertical ? columns() : 1));
}

function columns() {
  const all = entries();
  const top = all[0].offsetTop;
  return Math.max(1, all.filter((entry) => entry.offsetTop === top).length);
}

function moveBack() {
  return moveTo(Math.max(0, Math.min(lastPlace, entries().length - 1)));
}

function moveTo(number) {
  const entry = entries()[number];
  if (!entry) return false;
  lastPlace = number;
  link(entry).focus();
  entry.scrollIntoView({ block: "nearest" });
  return true;
}

function toggle(entry, isRange) {
  const one = box(entry);
  if (one.disabled) return true;
  one.checked = !one.checked;
  chooseUpTo(one, isRange);
  return true;
}

function closeOrClear() {
  const menu = document.querySelector(".menu[open]");
  if (menu) {
    menu.open = false;
    menu.querySelector("summary").focus();
  } else chooseAll(false);
  return true;
}

// -- correcting and deleting -----------------------------------------------------------------------

function submitted(event) {
  if (event.target.id !== "past" || !event.submitter) return;
  const { formAction } = event.submitter;
  if (formAction === address("delete")) begin(event, deleteSoon);
  else if (formAction === event.target.action) begin(event, correct);
}

function address(name) {
  return new URL(past().dataset[name], document.baseURI).href;
}

function begin(event, act) {
  event.preventDefault();
  act(new FormData(event.target));
}

async function correct(fields) {
  const told = await send(past().action, fields);
  if (!told) return;
  const undo = { run: () => takeBack(told.corrections) };
  toast([told.done, told.problem].filter(Boolean).join(" "), told.corrections.length ? { undo } : {});
  refresh();
}

async function takeBack(corrections) {
  const fields = new FormData();
  for (const id of corrections) fields.append("corrections", id);
  const told = await send(address("takeBack"), fields);
  if (told) toast(told.done);
  refresh();
}

// Nothing is deleted while it can be undone: whoever closes or leaves the page keeps the pictures.
function deleteSoon(fields) {
  const ids = fields.getAll("ids");
  if (!ids.length) return toast("Nothing is selected: tick the pictures first.");
  const url = address("delete");
  markGoing(ids, true);
  chooseAll(false);
  const [what, stay] = ids.length === 1 ? ["1 picture", "it stays"] : [`${ids.length} pictures`, "they stay"];
  toast(`${what} will be deleted. If you leave this page first, ${stay}.`, {
    undo: { run: () => markGoing(ids, false) },
    gone: () => deleteNow(url, ids),
  });
}

async function deleteNow(url, ids) {
  const fields = new FormData();
  fields.append("confirmed", "yes");
  for (const id of ids) fields.append("ids", id);
  const told = await send(url, fields);
  markGoing(ids, false);
  if (told) toast([told.done, told.problem].filter(Boolean).join(" "));
  refresh();
}

function markGoing(ids, isGoing) {
  for (const id of ids) {
    if (isGoing) going.add(id);
    else going.delete(id);
  }
  showGoing();
}

function showGoing() {
  for (const entry of entries()) {
    const isGoing = going.has(box(entry).value);
    entry.classList.toggle("is-going", isGoing);
    box(entry).disabled = isGoing;
    if (isGoing) box(entry).checked = false;
  }
}

// Resolves to what the server says it did, or to nothing: then a person was told what went wrong.
async function send(url, fields) {
  try {
    const response = await post(url, fields);
    const told = await response.json();
    if (response.ok) return told;
    toast(told.problem);
  } catch {
    toast("That did not get through. Reload the page and try again.");
  }
  return null;
}

function refresh() {
  isRefreshing = true;
  window.htmx.ajax("GET", location.href, { target: "#past", select: "#past", swap: "outerHTML" });
}

// -- the list is another one now ---------------------------------------------------------------------

function settled(event) {
  if (!past() || !event.target.closest?.("#past")) return;
  lastBox = null;
  if (!isRefreshing) lastPlace = -1;
  isRefreshing = false;
  showTimesHere(past());
  showGoing();
  showCount();
  announce(past().dataset.said);
}

// Days are the reader's own; their time zone stands in the address only beside a day.
function sayWhichDays(event) {
  const { parameters, elt, verb } = event.detail;
  if (verb !== "get" || elt.id !== "filters") return;
  const hasDay = ["when", "from", "to"].some((name) => parameters[name]);
  if (hasDay) parameters.tz = zone();
  else delete parameters.tz;
}

function sayZone() {
  const field = document.querySelector("#filters [name=tz]");
  const words = document.querySelector("[data-zone]");
  if (field && words && !field.value) words.textContent = zone();
}

function zone() {
  return Intl.DateTimeFormat().resolvedOptions().timeZone ?? "UTC";
}
