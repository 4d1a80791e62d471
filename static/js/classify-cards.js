// Cards of pictures, drawn as they come into view: a list of thousands is as quick as one of ten.

const DRAWN_AT_ONCE = 48;
const SIDE = 320;
const SAID = { waiting: "Waiting", looking: "Looking", failed: "No answer", cancelled: "Cancelled" };

export class Cards {
  #items = [];
  #drawn = 0;
  #end = document.createElement("li");
  #pictures = Promise.resolve();

  // `open(item)` and `act(item)` are called when a card, or its button, is pressed.
  constructor({ list, template, open, act }) {
    Object.assign(this, { list, template, open, act });
    this.#end.className = "cards-end";
    this.#end.setAttribute("aria-hidden", "true");
    new IntersectionObserver((seen) => seen.some((entry) => entry.isIntersecting) && this.#drawMore(), {
      rootMargin: "600px",
    }).observe(this.#end);
    this.inView = new IntersectionObserver((seen) => this.#showPictures(seen), { rootMargin: "200px" });
    list.addEventListener("keydown", moveByArrows);
  }

  add(items) {
    this.#items.push(...items);
    this.list.append(this.#end);
    if (this.#drawn < DRAWN_AT_ONCE) this.#drawMore();
  }

  clear() {
    this.inView.disconnect();
    this.#items = [];
    this.#drawn = 0;
    this.list.replaceChildren();
  }

  // Bring a card up to date, if it is drawn.
  refresh(item) {
    const { card } = item;
    if (!card) return;
    card.dataset.state = item.state;
    const said = sayOf(item);
    setText(card.querySelector(".card-said"), said);
    card.querySelector(".card-progress").value = item.state === "looking" ? 1 : item.progress;
    if (item.state === "answered") fill(card, item);
    labelAct(card.querySelector(".card-act"), item);
  }

  select(item, selected) {
    item.card?.querySelector(".card-open").setAttribute("aria-pressed", String(selected));
  }

  #drawMore() {
    const until = Math.min(this.#items.length, this.#drawn + DRAWN_AT_ONCE);
    const drawn = document.createDocumentFragment();
    while (this.#drawn < until) drawn.append(this.#draw(this.#items[this.#drawn++]));
    this.#end.before(drawn);
    // The observer speaks up on changes only, and the end may still be in view.
    if (until < this.#items.length) requestAnimationFrame(() => this.#drawIfNear());
  }

  #drawIfNear() {
    if (!this.#end.isConnected || this.#drawn >= this.#items.length) return;
    if (this.#end.getBoundingClientRect().top < innerHeight + 600) this.#drawMore();
  }

  #draw(item) {
    const card = this.template.content.firstElementChild.cloneNode(true);
    item.card = card;
    card.item = item;
    card.querySelector(".card-name").textContent = item.name;
    card.querySelector(".card-open").addEventListener("click", () => this.open(item));
    card.querySelector(".card-act").addEventListener("click", () => this.act(item));
    this.refresh(item);
    this.select(item, item.isSelected === true);
    this.inView.observe(card);
    return card;
  }

  // One after the other: a browser that decodes forty photos at once answers nobody.
  #showPictures(seen) {
    for (const { isIntersecting, target } of seen) {
      if (!isIntersecting) continue;
      this.inView.unobserve(target);
      const { item } = target;
      this.#pictures = this.#pictures.then(() => showPicture(target, item)).catch(() => showName(target, item));
    }
  }
}

// The answer as the server wrote it says in its data what a card shows of it.
export function factsOf(html) {
  const parsed = document.createElement("template");
  parsed.innerHTML = html;
  return { ...parsed.content.querySelector(".result")?.dataset };
}

export function sayOf(item) {
  if (item.state === "sending") return `Sending ${Math.round(item.progress * 100)} %`;
  if (item.state === "answered") return item.facts.label;
  if (item.state === "failed") return item.problem.textContent.trim();
  return SAID[item.state];
}

// The level as dots, and in words for who does not see them; that the model is not sure in words alone.
export function showLevel(card, { level, percent, words }) {
  card.classList.add(`level-${level}`);
  setText(card.querySelector(".card-percent"), percent);
  const place = card.querySelector(".card-words");
  setText(place, words);
  if (level === "unsure") place.className = "card-words print-unsure";
}

function fill(card, item) {
  const { facts } = item;
  showLevel(card, facts);
  if (!card.querySelector("canvas, img") && card.dataset.picture === "none") showThumbnail(card, facts.thumbnail);
}

function labelAct(button, item) {
  const isOver = item.state === "failed" || item.state === "cancelled";
  button.hidden = item.state === "answered" || item.isRefused === true;
  const word = isOver ? "Retry" : "Cancel";
  if (button.textContent === word) return;
  button.textContent = word;
  button.setAttribute("aria-label", `${word} ${item.name}`);
}

async function showPicture(card, item) {
  if (item.sample) return showThumbnail(card, item.source);
  if (!item.file) return showName(card, item);
  const picture = await createImageBitmap(item.file, { resizeWidth: SIDE, resizeQuality: "medium" });
  const canvas = document.createElement("canvas");
  canvas.width = picture.width;
  canvas.height = picture.height;
  canvas.getContext("2d").drawImage(picture, 0, 0);
  picture.close();
  card.querySelector(".card-frame").replaceChildren(canvas);
}

// TIFF, HEIC and what is at an address: the server has a picture of it once it has answered.
function showName(card, item) {
  card.dataset.picture = "none";
  if (item.state === "answered") showThumbnail(card, item.facts.thumbnail);
  else setText(card.querySelector(".card-picture-name"), item.name.split(".").pop().slice(0, 5));
}

function showThumbnail(card, source) {
  const image = document.createElement("img");
  image.alt = "";
  image.decoding = "async";
  image.src = source;
  card.querySelector(".card-frame").replaceChildren(image);
}

function setText(element, text) {
  if (element && element.textContent !== text) element.textContent = text;
}

const STEPS = { ArrowRight: 1, ArrowLeft: -1 };

export function moveByArrows(event) {
  if (!(event.key in STEPS) || !event.target.matches(".card-open")) return;
  const all = [...event.currentTarget.querySelectorAll(".card-open")];
  const next = all[all.indexOf(event.target) + STEPS[event.key]];
  if (!next) return;
  event.preventDefault();
  next.focus();
}
