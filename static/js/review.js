// The review queue with a keyboard: the next pictures are here already, so that each answer shows the
// next one at once; what was said is sent behind it, one after the other.

import { announce, post, showTimesHere, toast } from "./common.js";

const RENEW_MS = 90 * 1000;
const STILL_OURS_MS = 4 * 60 * 1000;
const PACE_MS = 5 * 60 * 1000;
const FEW_LEFT = 3;

const form = document.getElementById("review");
if (form) reviewPage(form);

function reviewPage(form) {
  const cards = document.getElementById("review-cards");
  const empty = document.getElementById("review-empty");
  const problem = document.getElementById("review-problem");
  const confirm = document.getElementById("review-confirm");
  const find = document.getElementById("review-find");
  const keysOn = document.getElementById("review-keys");
  const labels = [...form.querySelectorAll(".review-labels button")];
  const byKey = new Map([...form.querySelectorAll("[data-key]")].map((button) => [button.dataset.key, button]));
  const ahead = Number(form.dataset.ahead);
  // What was done, the last in the end: its card, what was sent, whether it has arrived.
  const done = [];
  const answeredAt = [];
  // The pictures on the desk again whose taking back is not sent yet: the server knows nothing of it.
  const returning = new Set();
  let sending = Promise.resolve();
  let unsent = 0;
  let unsaved = 0;
  // What the steps that are not sent yet will change in what is left.
  let owed = 0;
  let fetching = false;
  let nothingMore = false;
  let renewedAt = Date.now();
  let today = number("review-done");
  let left = number("review-left");

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    press(event.submitter ?? confirm);
  });
  document.getElementById("review-back").addEventListener("submit", (event) => {
    event.preventDefault();
    undo();
  });
  document.addEventListener("keydown", onKey);
  find?.addEventListener("input", filter);
  find?.addEventListener("keydown", takeFound);
  cards.addEventListener("error", (event) => event.target.matches("img") && isBroken(event.target), true);
  window.addEventListener("beforeunload", (event) => unsaved && event.preventDefault());
  window.addEventListener("pagehide", release);
  window.addEventListener("pageshow", (event) => event.persisted && renew());
  document.addEventListener("visibilitychange", () => document.hidden || renew());
  setInterval(() => document.hidden || renew(), RENEW_MS);
  leaveWindowOut();
  rememberKeys();
  if (find) find.hidden = false;
  for (const image of cards.querySelectorAll("img")) {
    if (image.complete && !image.naturalWidth) isBroken(image);
  }
  show();
  if (current()) fetchMore();

  function current() {
    return cards.querySelector(".review-card");
  }

  function inHand() {
    return [...cards.querySelectorAll(".review-card")];
  }

  // A reload is a window of its own: this one lets go of its pictures as it is left.
  function leaveWindowOut() {
    const address = new URL(location.href);
    if (!address.searchParams.has("window")) return;
    address.searchParams.delete("window");
    history.replaceState(null, "", address);
  }

  // -- what a person does ---------------------------------------------------------------------

  function press(button) {
    if (button.name === "do" && button.value === "undo") return undo();
    const card = current();
    if (!card) return;
    flash(button === confirm ? (labels.find((one) => one.value === confirm.value) ?? confirm) : button);
    const skips = button.name === "do";
    const fields = skips ? { do: "skip" } : { label: button.value };
    const step = { card, fields, skips, arrived: false };
    done.push(step);
    card.remove();
    problem.hidden = true;
    if (!skips) count(1);
    if (left !== null) left = Math.max(0, left - 1);
    const words = skips ? "Skipped" : button === confirm ? "Right" : button.querySelector(".review-words").textContent;
    show(words);
    send(step);
    if (inHand().length <= FEW_LEFT) fetchMore();
  }

  function undo() {
    const step = done.pop();
    if (!step) return undoEarlier();
    const key = step.card.dataset.prediction;
    returning.add(key);
    back([step.card]);
    if (!step.skips) count(-1);
    if (left !== null) left += 1;
    show("Taken back");
    queue(async () => {
      if (step.failed) return;
      await ask({ do: "undo", step: key });
    }, (error) => say(`It was not taken back: ${sentence(error)}`), 1).then(() => returning.delete(key));
  }

  // What was answered before this page was loaded.
  function undoEarlier() {
    queue(async () => {
      const told = await ask({ do: "undo" });
      if (!told.card) return toast(told.said);
      back([made(told.card)]);
      show("Taken back");
    }, (error) => say(sentence(error)));
  }

  // -- sending --------------------------------------------------------------------------------

  function send(step) {
    queue(async () => {
      // What comes after one that failed is on the desk again with it.
      if (step.failed) return;
      await ask({ ...step.fields, prediction: step.card.dataset.prediction });
      step.arrived = true;
    }, (error) => failed(step, error), -1);
  }

  function failed(step, error) {
    const lost = error.refused ? [step] : done.filter((one) => !one.arrived);
    if (!lost.includes(step)) lost.unshift(step);
    for (const one of lost) {
      one.failed = true;
      const place = done.indexOf(one);
      if (place >= 0) done.splice(place, 1);
      if (!one.skips) count(-1);
      if (left !== null) left += 1;
    }
    if (error.refused === 409) {
      // Somebody else has it now: it is no longer ours to show.
      say(error.refusal);
      show();
      return;
    }
    back(lost.map((one) => one.card));
    const many = lost.length > 1 ? `The last ${lost.length} answers were` : "The last answer was";
    say(`${many} not kept: ${sentence(error)} ${lost.length > 1 ? "The pictures are" : "The picture is"} here again.`);
    show();
  }

  function queue(run, onError, owes = 0) {
    unsent += 1;
    unsaved += Number(owes !== 0);
    owed += owes;
    sending = sending.then(run).catch(onError).finally(() => {
      unsent -= 1;
      unsaved -= Number(owes !== 0);
      owed -= owes;
    });
    return sending;
  }

  async function ask(fields) {
    const told = await request(form.action, fields);
    tell(told, { isLast: unsent <= 1 });
    return told;
  }

  async function request(url, fields) {
    const hidden = Object.fromEntries(["model", "window"].map((name) => [name, form.elements[name].value]));
    const response = await post(url, { ...hidden, since: midnight(), ...fields }, { keepalive: true });
    const isJson = response.headers.get("Content-Type")?.startsWith("application/json");
    const told = isJson ? await response.json() : {};
    if (response.ok) return told;
    const error = new Error(told.problem ?? response.statusText);
    error.refused = response.status;
    error.refusal = told.problem ?? (response.status === 403 ? "this page is out of date. Reload it." : "something went wrong on our side. Try again.");
    throw error;
  }

  function sentence(error) {
    return error.refusal ?? "the connection or the server is not there. Try again in a moment.";
  }

  // -- the pictures to come -------------------------------------------------------------------

  async function fetchMore() {
    if (fetching) return;
    fetching = true;
    await queue(async () => {
      const has = new URLSearchParams(form_fields());
      for (const card of inHand()) has.append("has", card.dataset.prediction);
      const response = await post(form.dataset.next, has);
      if (!response.ok) throw new Error(response.statusText);
      arrange(await response.json());
    }, () => {
      // The pictures at hand are answered first; the next answer tries again.
      if (!current()) say("The next pictures did not come: the connection or the server is not there. Reload the page in a moment.");
    });
    fetching = false;
    show();
  }

  function form_fields() {
    return { model: form.elements.model.value, window: form.elements.window.value, since: midnight() };
  }

  function arrange(told) {
    renewedAt = Date.now();
    const held = new Set([...told.held, ...returning]);
    // One that lay here for so long that somebody else has it is theirs.
    for (const card of inHand()) if (!held.has(card.dataset.prediction)) card.remove();
    const here = new Set(inHand().map((card) => card.dataset.prediction));
    const gone = new Set(done.filter((step) => !step.arrived).map((step) => step.card.dataset.prediction));
    for (const [key, html] of Object.entries(told.cards)) {
      if (!here.has(key) && !gone.has(key)) cards.append(made(html));
    }
    nothingMore = told.held.length < ahead;
    tell(told, { isLast: true });
    left = /^\d+$/.test(told.left) ? Math.max(0, Number(told.left) + owed) : null;
    if (left === null) document.getElementById("review-left").textContent = told.left;
  }

  function renew() {
    const isOld = Date.now() - renewedAt > STILL_OURS_MS;
    if (isOld || (inHand().length && Date.now() - renewedAt > RENEW_MS / 2)) fetchMore();
  }

  function release() {
    const body = new URLSearchParams({ ...form_fields(), csrfmiddlewaretoken: form.elements.csrfmiddlewaretoken.value });
    navigator.sendBeacon(form.dataset.release, body);
  }

  function made(html) {
    const template = document.createElement("template");
    template.innerHTML = html;
    const card = template.content.querySelector(".review-card");
    showTimesHere(card);
    return card;
  }

  function back(again) {
    for (const card of again) {
      for (const same of inHand()) if (same.dataset.prediction === card.dataset.prediction) same.remove();
    }
    cards.prepend(...again);
  }

  function isBroken(image) {
    const words = document.createElement("p");
    words.className = "review-broken";
    words.textContent = "This picture cannot be shown. Skip it.";
    image.replaceWith(words);
  }

  // -- what is shown --------------------------------------------------------------------------

  function show(words = "") {
    const card = current();
    const waits = !card && fetching;
    cards.classList.toggle("review-wait", waits);
    form.hidden = !card && !waits;
    empty.hidden = Boolean(card) || waits;
    if (left !== null) document.getElementById("review-left").textContent = left.toLocaleString("en");
    if (!card) {
      if (waits) return;
      announce("Nothing to review now.");
      // What can be frozen now is counted once the last answer has arrived.
      sending.then(() => document.body.dispatchEvent(new Event("reviewed")));
      return;
    }
    const { prediction, label, name } = card.dataset;
    form.elements.prediction.value = prediction;
    confirm.value = label;
    confirm.querySelector(".review-name").textContent = name;
    for (const button of labels) button.toggleAttribute("data-said", button.value === label);
    if (!words) return;
    clearFilter();
    cards.focus({ preventScroll: true });
    announce(`${words}. Next: ${name}, ${card.querySelector(".review-percent").textContent}.`);
  }

  function count(by) {
    if (today !== null) {
      today = Math.max(0, today + by);
      document.getElementById("review-done").textContent = today.toLocaleString("en");
    }
    if (by > 0) answeredAt.push(Date.now());
    else answeredAt.pop();
    showPace();
  }

  // As the server reckons it: from the first to the last answer of some minutes.
  function showPace() {
    while (answeredAt.length && answeredAt[0] < Date.now() - PACE_MS) answeredAt.shift();
    if (answeredAt.length < 3) return;
    const pace = ((answeredAt.length - 1) * 60_000) / Math.max(1, answeredAt.at(-1) - answeredAt[0]);
    document.getElementById("review-pace").textContent = pace.toFixed(pace >= 10 ? 0 : 1);
  }

  function tell(told, { isLast }) {
    if (!isLast || told.done === undefined) return;
    document.getElementById("review-done").textContent = told.done;
    today = number("review-done");
    if (answeredAt.length < 3 && told.pace) document.getElementById("review-pace").textContent = told.pace;
  }

  function say(text) {
    problem.textContent = text;
    problem.hidden = false;
    if (form.hidden) toast(text);
  }

  function flash(button) {
    button.classList.add("review-hit");
    setTimeout(() => button.classList.remove("review-hit"), 180);
  }

  // -- keys -----------------------------------------------------------------------------------

  function onKey(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || event.repeat || event.defaultPrevented) return;
    if (event.target.matches("input:not([type=checkbox]), textarea, select")) return;
    const act = keyed(event);
    if (!act) return;
    event.preventDefault();
    act();
  }

  function keyed(event) {
    if (event.key === "?") return openHelp;
    if (!keysOn.checked) return null;
    if (event.key === "Backspace") return undo;
    const key = event.key.toLowerCase();
    if (key === "u") return undo;
    if (form.hidden || !current()) return null;
    if (event.key === "Enter" || event.key === " ") {
      // On a button, a link or a summary these keys are that one's.
      return event.target.closest("button, a, summary, input") ? null : () => press(confirm);
    }
    if (key === "/" && find) return () => find.focus();
    const button = byKey.get(key);
    return button ? () => press(button) : null;
  }

  function openHelp() {
    const help = document.getElementById("review-help");
    help.open = !help.open;
    // Focus stays: on the summary Enter would close the help, not confirm.
    if (help.open) help.scrollIntoView({ block: "nearest" });
  }

  // Speech input and slips of a finger press keys that nobody meant: they can be switched off.
  function rememberKeys() {
    keysOn.closest("label").hidden = false;
    keysOn.checked = localStorage.getItem("review-keys") !== "off";
    const apply = () => form.classList.toggle("review-keys-off", !keysOn.checked);
    keysOn.addEventListener("change", () => {
      localStorage.setItem("review-keys", keysOn.checked ? "on" : "off");
      apply();
    });
    apply();
  }

  function filter() {
    const wanted = find.value.trim().toLowerCase();
    let found = 0;
    for (const button of labels) {
      button.hidden = !button.querySelector(".review-words").textContent.toLowerCase().includes(wanted);
      if (!button.hidden) found += 1;
    }
    form.querySelector(".review-nothing").hidden = found > 0;
  }

  function clearFilter() {
    if (!find?.value) return;
    find.value = "";
    filter();
  }

  function takeFound(event) {
    if (event.key === "Escape") {
      find.value = "";
      filter();
      cards.focus({ preventScroll: true });
    }
    if (event.key !== "Enter") return;
    event.preventDefault();
    const fitting = labels.filter((button) => !button.hidden);
    const exact = fitting.find((button) => button.querySelector(".review-words").textContent.toLowerCase() === find.value.trim().toLowerCase());
    if (exact ?? (fitting.length === 1 && fitting[0])) press(exact ?? fitting[0]);
  }

  function number(id) {
    const text = document.getElementById(id).textContent.replaceAll(",", "").trim();
    return /^\d+$/.test(text) ? Number(text) : null;
  }

  // The person's own day, not that of the server.
  function midnight() {
    return String(new Date().setHours(0, 0, 0, 0) / 1000);
  }
}
