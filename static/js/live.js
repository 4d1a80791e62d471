// The live camera: small frames go to the server one after the other, and what it says is shown at once.
// Nothing is stored unless a person keeps a frame. It stops when the page is hidden.

import { announce, csrfToken, toast } from "./common.js";

// The longer side of a frame in pixels, and the quality of its JPEG: from the best to the cheapest.
const STEPS = [
  { side: 320, quality: 0.8 },
  { side: 256, quality: 0.75 },
  { side: 192, quality: 0.7 },
  { side: 128, quality: 0.65 },
];
// Two frames are under way, so that the next one travels while the server looks at one.
const UNDER_WAY = 2;
const FASTEST_MS = 1000 / 30;
// A frame that takes longer is sent smaller; well below it, larger again.
const SLOW_MS = 95;
const QUICK_MS = 45;
const SETTLE_FRAMES = 12;
// Of the figures shown each new one counts so much.
const WEIGHT = 0.15;
// Of the answer: the probabilities of frames are averaged, so that the label does not flicker.
const CALM = 0.45;
const SPEAK_EVERY_MS = 4_000;
const OFFLINE_PAUSE_MS = 1_000;
const KEPT_SIDE = 1280;

const byId = (id) => document.getElementById(id);
const root = byId("live");
const video = byId("video");
const canvas = document.createElement("canvas");

let stream = null;
let facing = "environment";
let step = 0;
let sinceStep = 0;
let run = 0;
let resumes = false;
let said = { label: "", at: 0 };
const figures = { interval: 0, latency: 0, network: 0, bytes: 0 };
let sent = 0;
let shown = 0;
let shownAt = 0;
let calm = new Map();

byId("live-start").addEventListener("click", start);
byId("live-stop").addEventListener("click", () => stop());
byId("live-keep").addEventListener("click", keep);
byId("live-turn").addEventListener("click", turn);
byId("model").addEventListener("change", () => calm.clear());
document.addEventListener("visibilitychange", followVisibility);
window.addEventListener("pagehide", () => stop());

// -- the camera --------------------------------------------------------------------------------------

async function start() {
  byId("live-problem").replaceChildren();
  if (!window.isSecureContext) return say("live-insecure");
  if (!navigator.mediaDevices?.getUserMedia) return say("live-unsupported");
  byId("live-start").disabled = true;
  try {
    const asked = { facingMode: { ideal: facing }, width: { ideal: 1280 }, height: { ideal: 720 } };
    stream = await navigator.mediaDevices.getUserMedia({ video: asked, audio: false });
    // The page may be hidden by the time that somebody has allowed it.
    if (document.hidden) stop({ toResume: true });
    else await play();
  } catch (error) {
    stop();
    say(problemOf(error));
  } finally {
    byId("live-start").disabled = false;
  }
}

async function play() {
  const [track] = stream.getVideoTracks();
  // Unplugged, or taken back in the browser's settings.
  track.addEventListener("ended", () => stop());
  video.srcObject = stream;
  await video.play();
  showRunning(true);
  byId("live-turn").hidden = !(await hasSeveralCameras());
  run += 1;
  shownAt = performance.now();
  for (let turn = 0; turn < UNDER_WAY; turn += 1) loop(run, turn);
}

function stop({ toResume = false } = {}) {
  resumes = toResume && stream !== null;
  run += 1;
  for (const track of stream?.getTracks() ?? []) track.stop();
  stream = null;
  video.srcObject = null;
  showRunning(false);
}

function turn() {
  facing = facing === "environment" ? "user" : "environment";
  stop();
  start();
}

function followVisibility() {
  if (document.hidden && stream) stop({ toResume: true });
  else if (!document.hidden && resumes) start();
}

async function hasSeveralCameras() {
  const devices = await navigator.mediaDevices.enumerateDevices().catch(() => []);
  return devices.filter(({ kind }) => kind === "videoinput").length > 1;
}

function problemOf(error) {
  const names = {
    NotAllowedError: "live-refused",
    SecurityError: "live-refused",
    NotFoundError: "live-missing",
    OverconstrainedError: "live-missing",
  };
  return names[error.name] ?? "live-taken";
}

// -- frame by frame ------------------------------------------------------------------------------------

async function loop(mine, turn) {
  await pause(turn * FASTEST_MS);
  while (mine === run) {
    const began = performance.now();
    const number = ++sent;
    const told = await ask(mine);
    if (mine !== run) return;
    const took = performance.now() - began;
    // An answer that a later one overtook is no news.
    if (told && number > shown) {
      shown = number;
      count(told, took);
      show(told);
    }
    await pause(told ? UNDER_WAY * FASTEST_MS - took : OFFLINE_PAUSE_MS);
  }
}

function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, milliseconds)));
}

// Send one frame; null if there was no answer, which is said.
async function ask(mine) {
  const { side, quality } = STEPS[step];
  const frame = await shoot(side, quality);
  if (!frame || mine !== run) return null;
  try {
    const response = await fetch(`${root.dataset.frame}?model=${encodeURIComponent(byId("model").value)}`, {
      method: "POST",
      body: frame,
      headers: { "Content-Type": "image/jpeg", "X-CSRFToken": csrfToken() },
    });
    return await read(response, frame, mine);
  } catch {
    if (mine === run) say("live-offline");
    return null;
  }
}

async function read(response, frame, mine) {
  const isOurs = response.headers.get("Content-Type")?.startsWith("application/json");
  if (response.ok) {
    byId("live-problem").replaceChildren();
    return { ...(await response.json()), bytes: frame.size };
  }
  if (mine !== run) return null;
  if (isOurs) sayText((await response.json()).problem);
  else say(response.status === 403 ? "live-stale" : "live-offline");
  if (response.status === 403) stop();
  return null;
}

function shoot(side, quality) {
  const { videoWidth, videoHeight } = video;
  if (!videoWidth) return null;
  const scale = Math.min(1, side / Math.max(videoWidth, videoHeight));
  canvas.width = Math.round(videoWidth * scale);
  canvas.height = Math.round(videoHeight * scale);
  canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", quality));
}

function count(told, latency) {
  const now = performance.now();
  const latest = { interval: now - shownAt, latency, network: told.inference_ms, bytes: told.bytes };
  shownAt = now;
  for (const [name, value] of Object.entries(latest)) {
    figures[name] = figures[name] ? figures[name] + WEIGHT * (value - figures[name]) : value;
  }
  adapt();
}

// Smaller frames while the way there and back is slow, larger ones again when it is quick.
function adapt() {
  sinceStep += 1;
  if (sinceStep < SETTLE_FRAMES) return;
  const next = figures.latency > SLOW_MS ? step + 1 : figures.latency < QUICK_MS ? step - 1 : step;
  if (next === step || !(next in STEPS)) return;
  step = next;
  sinceStep = 0;
}

// -- what is shown -------------------------------------------------------------------------------------

function show(told) {
  const bars = settle(told.bars);
  byId("live-answer").hidden = false;
  byId("live-teacher").hidden = true;
  byId("live-verdict").className = `verdict level-${told.level}`;
  byId("live-unsure").hidden = told.level !== "unsure";
  for (const [id, text] of Object.entries({
    "live-label": told.label,
    "live-percent": told.percent,
    "live-words": told.words,
    "live-version": told.version,
    "live-rate": (1000 / Math.max(1, figures.interval)).toFixed(1),
    "live-latency": `${Math.round(figures.latency)} ms`,
    "live-network": `${figures.network.toFixed(1)} ms`,
    "live-size": `${(figures.bytes / 1000).toFixed(1)} kB`,
  })) {
    setText(byId(id), text);
  }
  byId("live-tag").hidden = false;
  setText(byId("live-tag"), `${told.label}, ${told.percent}`);
  draw(bars);
  speak(told);
}

// Bars move calmly, and stand in the order of the calm values.
function settle(bars) {
  const now = new Map(bars.map(({ name, probability }) => [name, probability]));
  for (const name of new Set([...calm.keys(), ...now.keys()])) {
    const value = (calm.get(name) ?? 0) * (1 - CALM) + (now.get(name) ?? 0) * CALM;
    if (value > 0.0005 || now.has(name)) calm.set(name, value);
    else calm.delete(name);
  }
  return [...calm].sort(([, one], [, other]) => other - one).slice(0, bars.length);
}

function draw(bars) {
  const list = byId("live-bars");
  while (list.children.length < bars.length) list.append(newBar());
  while (list.children.length > bars.length) list.lastElementChild.remove();
  bars.forEach(([name, value], index) => {
    const bar = list.children[index];
    setText(bar.querySelector(".bar-name"), name);
    setText(bar.querySelector(".bar-percent"), value < 0.0005 ? "< 0.1 %" : `${(value * 100).toFixed(1)} %`);
    bar.querySelector(".bar-fill").setAttribute("width", `${(value * 100).toFixed(2)}%`);
  });
}

function newBar() {
  const svg = (name, attributes) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  const bar = document.createElement("li");
  const [name, share] = ["bar-name", "bar-percent"].map((kind) => Object.assign(document.createElement("span"), { className: kind }));
  const drawn = svg("svg", { class: "bar", height: "8", "aria-hidden": "true" });
  drawn.append(
    svg("rect", { class: "bar-track", width: "100%", height: "8", rx: "4" }),
    svg("rect", { class: "bar-fill", width: "0%", height: "8", rx: "4" }),
  );
  bar.append(name, drawn, share);
  return bar;
}

// A screen reader hears what changed, and not ten times a second.
function speak(told) {
  const now = performance.now();
  if (told.label === said.label || now - said.at < SPEAK_EVERY_MS) return;
  said = { label: told.label, at: now };
  announce(`${told.label}, ${told.percent}. ${told.words}.`);
}

function showRunning(isRunning) {
  video.hidden = !isRunning;
  byId("live-idle").hidden = isRunning;
  byId("live-start").hidden = isRunning;
  byId("live-stop").hidden = !isRunning;
  byId("live-keep").hidden = !isRunning;
  if (isRunning) return;
  byId("live-turn").hidden = true;
  byId("live-tag").hidden = true;
  figures.interval = figures.latency = 0;
  calm = new Map();
}

// -- keeping one ---------------------------------------------------------------------------------------

async function keep() {
  const button = byId("live-keep");
  button.disabled = true;
  const frame = await shoot(KEPT_SIDE, 0.92);
  const body = new FormData();
  if (byId("model").value) body.append("model", byId("model").value);
  body.append("image", frame, "camera.jpg");
  const headers = { "X-CSRFToken": csrfToken(), "HX-Request": "true" };
  const response = await fetch(root.dataset.keep, { method: "POST", body, headers }).catch(() => null);
  button.disabled = false;
  const parsed = document.createElement("template");
  parsed.innerHTML = response ? await response.text() : "";
  const result = parsed.content.querySelector(".result");
  if (!response?.ok || !result) return toast(parsed.content.querySelector(".problem")?.textContent ?? "The frame was not kept. Try again.");
  const { page, label } = result.dataset;
  toast(`Kept: ${label}.`, { undo: { label: "Open its page", run: () => location.assign(page) } });
}

function say(id) {
  byId("live-problem").replaceChildren(byId(id).content.firstElementChild.cloneNode(true));
}

function sayText(text) {
  const line = Object.assign(document.createElement("p"), { className: "problem", textContent: text });
  byId("live-problem").replaceChildren(line);
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
