// Pictures on their way to an answer: a few at once, each cancelled or tried again by itself.

const AT_ONCE = 3;
const TIMEOUT_MS = 120_000;
// The rate is that of the last so many answers: a pause or a large picture is soon forgotten.
const RATE_OF_LAST = 40;

// An item is { kind: "file" | "url" | "sample", name, file | url | sample, fields }. What becomes of it
// is its `state`: waiting, sending (with `progress`, 0 to 1), looking, answered (with `html`), failed (with
// `problem`, an element) or cancelled. Every change is told by a "change" event.
export class Queue extends EventTarget {
  items = [];
  counts = { waiting: 0, sending: 0, looking: 0, answered: 0, failed: 0, cancelled: 0 };
  #line = [];
  #times = [];

  // `isKnown`: whether the server knows whose pictures these are. A first answer says so, and until
  // it is there, one picture goes alone: each of several would be somebody else's.
  constructor({ url, headers, isKnown, isAnswer, problemOf }) {
    super();
    Object.assign(this, { url, headers, isKnown, isAnswer, problemOf });
  }

  get active() {
    return this.counts.sending + this.counts.looking;
  }

  get unfinished() {
    return this.active + this.counts.waiting;
  }

  // How many answers a second came lately; 0 while too few came to tell.
  get rate() {
    const first = this.#times[0];
    const seconds = (performance.now() - first) / 1000;
    return this.#times.length < 3 || seconds <= 0 ? 0 : this.#times.length / seconds;
  }

  add(items) {
    if (!this.unfinished) this.#times = [performance.now()];
    for (const item of items) {
      item.state = "none";
      this.items.push(item);
      if (item.problem) this.#set(item, "failed");
      else this.#wait(item);
    }
    this.#sendNext();
  }

  cancel(item) {
    if (item.state === "waiting") this.#line.splice(this.#line.indexOf(item), 1);
    else if (!item.request) return;
    const request = item.request;
    item.request = null;
    this.#set(item, "cancelled");
    request?.abort();
    this.#goOn();
  }

  retry(item) {
    if (item.state !== "failed" && item.state !== "cancelled") return;
    if (item.isRefused) return;
    if (!this.unfinished) this.#times = [performance.now()];
    item.problem = null;
    this.#wait(item);
    this.#sendNext();
  }

  cancelAll() {
    const waiting = this.#line.splice(0);
    for (const item of waiting) this.#set(item, "cancelled");
    for (const item of this.items) if (item.request) this.cancel(item);
    this.#goOn();
  }

  retryAll() {
    for (const item of this.items) this.retry(item);
  }

  clear() {
    this.items = [];
    for (const state of Object.keys(this.counts)) this.counts[state] = 0;
  }

  #wait(item) {
    item.progress = 0;
    this.#line.push(item);
    this.#set(item, "waiting");
  }

  #sendNext() {
    const most = this.isKnown ? AT_ONCE : 1;
    while (this.active < most && this.#line.length) this.#send(this.#line.shift());
  }

  // fetch() tells nothing of how far an upload is.
  #send(item) {
    const request = new XMLHttpRequest();
    item.request = request;
    request.open("POST", this.url);
    request.timeout = TIMEOUT_MS;
    for (const [name, value] of Object.entries(this.headers())) request.setRequestHeader(name, value);
    request.upload.addEventListener("progress", (event) => {
      if (item.request !== request || !event.lengthComputable) return;
      item.progress = event.loaded / event.total;
      this.#set(item, item.progress < 1 ? "sending" : "looking");
    });
    request.addEventListener("loadend", () => this.#finish(item, request));
    this.#set(item, item.file ? "sending" : "looking");
    request.send(bodyOf(item));
  }

  #finish(item, request) {
    if (item.request !== request) return;
    item.request = null;
    if (request.status === 200 && this.isAnswer(request.responseText)) {
      this.isKnown = true;
      item.html = request.responseText;
      this.#times.push(performance.now());
      if (this.#times.length > RATE_OF_LAST) this.#times.shift();
      this.#set(item, "answered");
    } else {
      item.problem = this.problemOf(request);
      this.#set(item, "failed");
    }
    this.#goOn();
  }

  #goOn() {
    this.#sendNext();
    if (!this.unfinished) this.dispatchEvent(new Event("done"));
  }

  #set(item, state) {
    const from = item.state;
    if (from in this.counts) this.counts[from] -= 1;
    this.counts[state] += 1;
    item.state = state;
    this.dispatchEvent(new CustomEvent("change", { detail: { item, from } }));
  }
}

function bodyOf(item) {
  const body = new FormData();
  for (const [name, value] of item.fields) body.append(name, value);
  if (item.file) body.append("image", item.file, item.file.name);
  if (item.url) body.append("url", item.url);
  if (item.sample) body.append("sample", item.sample);
  return body;
}
