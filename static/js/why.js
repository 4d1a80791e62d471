// Why: choose a label and see its map at once, draw the map fainter or stronger. Works for panels that
// arrive later too, for it listens to the whole page. Without it the panel is a form and two pictures.

import { announce } from "./common.js";

const OPENED = "data-ready";

document.addEventListener("toggle", (event) => {
  if (event.target.matches?.("details.why") && event.target.open) prepare(event.target);
}, true);

document.addEventListener("input", (event) => {
  const panel = event.target.closest?.("details.why");
  if (panel && event.target.type === "range") strengthen(panel, event.target.value);
});

document.addEventListener("change", (event) => {
  const panel = event.target.closest?.("details.why");
  if (panel && event.target.matches("select")) change(panel);
});

document.addEventListener("submit", (event) => {
  const panel = event.target.closest?.("details.why");
  if (!panel) return;
  event.preventDefault();
  change(panel);
});

for (const panel of document.querySelectorAll("details.why[open]")) prepare(panel);

function prepare(panel) {
  if (panel.hasAttribute(OPENED)) return;
  panel.setAttribute(OPENED, "");
  for (const field of panel.querySelectorAll("[data-scripted]")) field.hidden = false;
  strengthen(panel, panel.querySelector("input[type=range]").value);
  show(panel);
}

async function change(panel) {
  await show(panel);
  const map = panel.querySelector(".why-map");
  if (!map.hidden) announce(map.alt);
}

function strengthen(panel, percent) {
  panel.querySelector(".why-map").style.opacity = percent / 100;
}

// The map is fetched first, so that a refusal can be read out; the picture then comes from the cache.
async function show(panel) {
  const select = panel.querySelector("select");
  const map = panel.querySelector(".why-map");
  const words = panel.querySelector(".why-words");
  const name = select.selectedOptions[0].text.replace(/, [^,]*$/, "");
  const url = `${panel.dataset.why}?label=${encodeURIComponent(select.value)}`;
  const asked = (panel.asked = Symbol("asked"));
  panel.classList.add("is-waiting");
  let sentence;
  try {
    const response = await fetch(url, { credentials: "same-origin" });
    if (asked !== panel.asked) return;
    if (response.ok) {
      const empty = response.headers.get("X-Explanation") === "nothing";
      sentence = empty ? `Nothing in the picture spoke for ${name}.` : "";
      map.alt = empty ? sentence : `Map over the picture of what spoke for ${name}`;
      map.src = url;
    } else {
      const reason = (response.headers.get("Content-Type") ?? "").startsWith("text/plain");
      sentence = reason ? await response.text() : "The map could not be made. Try again in a moment.";
    }
    map.hidden = !response.ok;
  } catch {
    sentence = "The map did not get through: the connection or the server is not there.";
    map.hidden = true;
  }
  if (asked !== panel.asked) return;
  panel.classList.remove("is-waiting");
  words.textContent = sentence;
}
