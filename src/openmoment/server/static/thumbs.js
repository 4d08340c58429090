// Small pictures of the video: in the list as rows come on view, and under the pointer.

import { thumbnailUrl } from "./api.js";
import { byId, debounced } from "./dom.js";
import { clock } from "./format.js";
import { onView } from "./drawing.js";

const DWELL_MS = 120; // that the pointer rests before a picture is asked for
const AT_ONCE = 2; // requests for pictures of rows

/** Gives pictures of rows their address when they come on view, a few at a time. */
export class RowPictures {
  #waiting = [];
  #running = 0;

  constructor() {
    this.observer = new IntersectionObserver((entries) => this.#seen(entries));
  }

  watch(image, url) {
    image.dataset.url = url;
    this.observer.observe(image);
  }

  clear() {
    this.observer.disconnect();
    this.#waiting = [];
  }

  #seen(entries) {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue;
      this.observer.unobserve(target);
      this.#waiting.push(target);
    }
    this.#next();
  }

  #next() {
    while (this.#running < AT_ONCE && this.#waiting.length) {
      const image = this.#waiting.shift();
      if (!image.isConnected) continue;
      this.#running += 1;
      const done = () => {
        this.#running -= 1;
        this.#next();
      };
      image.addEventListener("load", done, { once: true });
      image.addEventListener("error", () => (image.hidden = true), { once: true });
      image.addEventListener("error", done, { once: true });
      image.src = image.dataset.url;
    }
  }
}

/** The picture and time under the pointer, over the timeline. */
export class HoverPicture {
  #at = null;

  constructor(timeline) {
    this.timeline = timeline;
    this.box = byId("hover");
    this.image = byId("hover-image");
    this.text = byId("hover-text");
    this.load = debounced(() => this.#load(), DWELL_MS);
    for (const canvas of [timeline.map, timeline.ruler, timeline.lanes]) {
      canvas.addEventListener("pointermove", (event) => this.#move(event, canvas));
      for (const kind of ["pointerleave", "pointerdown"]) {
        canvas.addEventListener(kind, () => this.hide());
      }
    }
    this.image.addEventListener("load", () => (this.image.hidden = this.#at === null));
    this.image.addEventListener("error", () => (this.image.hidden = true));
  }

  hide() {
    this.box.hidden = true;
    this.#at = null;
  }

  #move(event, canvas) {
    if (event.pointerType === "touch" || event.buttons) return;
    const { viewport, map, lanes } = this.timeline;
    const frame = canvas.getBoundingClientRect();
    const x = event.clientX - frame.left;
    const whole = canvas === map;
    const at = whole ? (x / frame.width) * viewport.duration : viewport.seconds(x);
    const under = canvas === lanes ? this.#under(event.clientY - frame.top, at) : null;
    if (at < 0 || at > viewport.duration || (canvas === lanes && !under)) return this.hide();
    this.text.textContent = clock(at, viewport.span < 120 && !whole ? 2 : 1);
    this.box.hidden = false;
    this.#place(event.clientX, byId("tracks").getBoundingClientRect().top);
    const step = Math.max(0.2, (whole ? viewport.duration : viewport.span) / 240);
    this.#want(Math.round(at / step) * step);
    return undefined;
  }

  /** The segment of the row there, if any: elsewhere on the lanes a picture would be in the way. */
  #under(y, at) {
    const row = this.timeline.rowAt(y);
    const source = row?.isOpen ? (row.lane ?? row.answer) : null;
    return source ? !onView(source, { start: at, end: at + 1e-6 }).next().done : false;
  }

  #want(at) {
    if (at === this.#at) return;
    this.#at = at;
    this.image.hidden = true;
    this.load();
  }

  #load() {
    const { video } = this.timeline.store;
    if (this.#at === null || !video) return;
    this.image.src = thumbnailUrl(
      video.id,
      Math.min(this.#at, this.timeline.viewport.duration),
      90,
    );
    if (this.image.complete && this.image.naturalWidth) this.image.hidden = false;
  }

  #place(x, above) {
    const half = this.box.offsetWidth / 2;
    const left = Math.max(half + 4, Math.min(x, window.innerWidth - half - 4));
    this.box.style.left = `${left}px`;
    this.box.style.bottom = `${window.innerHeight - above + 4}px`;
  }
}
