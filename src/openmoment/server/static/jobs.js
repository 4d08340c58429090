// What the server is working on: one stream of events, and a line for each job of the open video.

import { api } from "./api.js";
import { byId, h, name } from "./dom.js";
import { complain, say, settle } from "./notices.js";

const LOST = "The connection to the server is lost; trying again.";
const GONE_MS = 2500; // that a finished job stays
const IS_OVER = new Set(["done", "failed", "cancelled"]);

/** Events: "done" (a job's {detail}), "review" ({video, revision}), "change" (any job), "back". */
export class Jobs extends EventTarget {
  #jobs = new Map();
  #lines = new Map();
  #closed = new Set(); // ids of jobs whose line is gone
  #isLost = false;

  constructor(store) {
    super();
    this.store = store;
    this.box = byId("jobs");
  }

  listen() {
    const events = api.events();
    events.addEventListener("job", (event) => this.take(JSON.parse(event.data)));
    events.addEventListener("review", (event) => {
      this.dispatchEvent(new CustomEvent("review", { detail: JSON.parse(event.data) }));
    });
    events.addEventListener("open", () => this.#opened());
    events.addEventListener("error", () => {
      this.#isLost = true;
      complain(LOST);
    });
  }

  async #opened() {
    settle(LOST);
    const { jobs } = await api.jobs().catch(() => ({ jobs: [] }));
    const isFirst = !this.#isLost && this.#jobs.size === 0;
    for (const job of jobs) {
      if (isFirst && IS_OVER.has(job.state) && job.state !== "failed") this.#closed.add(job.id);
      this.take(job);
    }
    if (this.#isLost) this.dispatchEvent(new Event("back"));
    this.#isLost = false;
  }

  /** A job as it is now. */
  take(job) {
    const before = this.#jobs.get(job.id);
    if (before && before.changed > job.changed) return;
    this.#jobs.set(job.id, job);
    this.render();
    this.dispatchEvent(new Event("change"));
    const isNews = before && before.state !== job.state;
    if (isNews && job.state === "done")
      this.dispatchEvent(new CustomEvent("done", { detail: job }));
    if (isNews && job.state === "failed") say(`Failed: ${titleOf(job)}`);
    if (IS_OVER.has(job.state) && job.state !== "failed")
      setTimeout(() => this.#close(job.id), GONE_MS);
  }

  /** The newest job that makes a copy of a video that can be played, or null. */
  copying(videoId) {
    const all = [...this.#jobs.values()].filter(
      (job) => job.kind === "playable" && job.video === videoId,
    );
    return all.sort((a, b) => (a.made < b.made ? -1 : 1)).at(-1) ?? null;
  }

  render() {
    const id = this.store.video?.id;
    const here = [...this.#jobs.values()].filter(
      (job) => job.video === id && !this.#closed.has(job.id),
    );
    const old = [...this.#lines.keys()].filter((key) => !here.some((job) => job.id === key));
    for (const key of old) {
      this.#lines.get(key).line.remove();
      this.#lines.delete(key);
    }
    for (const job of here) this.#show(job);
  }

  #close(id) {
    this.#closed.add(id);
    this.render();
  }

  #show(job) {
    const parts = this.#lines.get(job.id) ?? this.#line(job);
    const { line, bar, words, button, close } = parts;
    line.className = `job ${job.state}`;
    words.textContent = wordsOf(job);
    const isOver = IS_OVER.has(job.state);
    bar.hidden = isOver;
    if (job.done === null || job.done === undefined) bar.removeAttribute("value");
    else bar.value = job.done;
    button.textContent = isOver ? "Run again" : "Cancel";
    button.hidden = job.state === "done";
    close.hidden = !isOver;
  }

  #line(job) {
    const title = h("span", { class: "job-title" }, name(titleOf(job)));
    const bar = h("progress", { max: 1, "aria-label": `Progress of ${titleOf(job)}` });
    const words = h("span", { class: "job-words", dir: "auto" });
    const button = h("button", { type: "button", onclick: () => this.#act(job.id) });
    const close = h("button", {
      type: "button",
      text: "Close",
      onclick: () => this.#close(job.id),
    });
    const line = h("li", {}, title, bar, words, button, close);
    this.box.append(line);
    const parts = { line, bar, words, button, close };
    this.#lines.set(job.id, parts);
    return parts;
  }

  async #act(id) {
    const job = this.#jobs.get(id);
    try {
      if (!IS_OVER.has(job.state)) return this.take(await api.cancel(id));
      const again = await api.again(id);
      if (again.id !== id) this.#close(id);
      return this.take(again);
    } catch (failure) {
      return complain(failure);
    }
  }
}

function titleOf(job) {
  return job.kind === "find"
    ? `Find ${(job.queries ?? []).join(", ")}`
    : "Make a copy that plays here";
}

function wordsOf(job) {
  if (job.state === "failed") return job.error ?? "it failed";
  if (job.state === "cancelled") return "cancelled";
  if (job.state === "queued") return job.message || "waiting for its turn";
  return job.message ?? "";
}
