// The timeline: overview, ruler and lanes on three canvases, painted at most once a frame.

import { api } from "./api.js";
import { byId, debounced } from "./dom.js";
import {
  BAR_HEIGHT,
  BAR_TOP,
  drawCurve,
  drawGrid,
  drawOverview,
  drawPlayhead,
  drawRuler,
  drawSegments,
  drawStretch,
  fitted,
} from "./drawing.js";
import { clock, colourOf, spoken } from "./format.js";
import { lanesOf, whyHere } from "./state.js";
import { Viewport } from "./viewport.js";

const INK = ["text", "soft", "faint", "play", "sheet", "on-colour", "accent"];
const CURVE_POINTS = 1500;

export class Timeline extends EventTarget {
  viewport = new Viewport();
  rows = []; // {query, lane, colour, y, height, isOpen}; lane null: the answer to a question
  preview = null; // {id, start_s, end_s} of a segment on its way
  making = null; // {query, start, end} of a segment being added
  now = 0;
  #curves = new Map();
  #details = new Map();
  #asked = ""; // what the detailed curves are of
  #detailed = [Infinity, -Infinity]; // the stretch they hold
  #dirty = false;
  #overviewOf = null; // what the overview's picture shows
  #overview = document.createElement("canvas");

  constructor(store, view) {
    super();
    this.store = store;
    this.view = view;
    this.scroller = byId("lanes");
    this.lanes = byId("lanes-canvas");
    this.ruler = byId("ruler");
    this.map = byId("overview");
    this.#readInk();
    this.#listen();
  }

  open() {
    this.#curves.clear();
    this.#details.clear();
    this.viewport.fit(this.store.duration);
    this.loadCurves();
    this.invalidate();
  }

  async loadCurves() {
    const id = this.store.video?.id;
    if (!id) return;
    const curves = await api.curves(id, { points: CURVE_POINTS }).catch(() => ({ queries: [] }));
    if (this.store.video?.id !== id) return;
    this.#curves = new Map(curves.queries.map((curve) => [curve.query, curve]));
    this.#details.clear();
    this.#asked = "";
    this.#loadDetail();
    this.invalidate();
  }

  /** Paint again with the next frame. */
  invalidate() {
    if (this.#dirty) return;
    this.#dirty = true;
    requestAnimationFrame(() => this.#paint());
  }

  /** After the stretch on view has changed. */
  moved() {
    this.invalidate();
    this.#loadDetailSoon();
    this.dispatchEvent(new Event("viewport"));
  }

  zoom(factor, anchor = this.#middle()) {
    this.viewport.zoom(factor, anchor);
    this.moved();
  }

  fit() {
    this.viewport.fit();
    this.moved();
  }

  reveal(start, end) {
    if (this.viewport.reveal(start, end)) this.moved();
  }

  /** The playhead; a timeline that is played along turns the page. */
  setNow(seconds, isPlaying) {
    if (seconds === this.now) return;
    this.now = seconds;
    const { start, end, span, isWhole } = this.viewport;
    if (isPlaying && !isWhole && (seconds < start || seconds > end)) {
      this.viewport.show(seconds - span * 0.05, seconds + span * 0.95);
      this.moved();
    }
    this.invalidate();
  }

  /** The row under a place on the lanes' canvas. */
  rowAt(y) {
    const at = y + this.scroller.scrollTop;
    return this.rows.find((row) => at >= row.y && at < row.y + row.height) ?? null;
  }

  #middle() {
    const { start, end } = this.viewport;
    return this.now >= start && this.now <= end ? this.now : (start + end) / 2;
  }

  #listen() {
    const relayout = () => {
      this.viewport.width = Math.max(1, this.lanes.clientWidth);
      this.invalidate();
    };
    const observer = new ResizeObserver(relayout);
    for (const box of [this.scroller, this.ruler]) observer.observe(box);
    this.scroller.addEventListener("scroll", () => this.invalidate(), { passive: true });
    this.store.addEventListener("change", () => this.invalidate());
    this.view.addEventListener("change", () => this.invalidate());
    const recolour = () => {
      this.#readInk();
      this.#overviewOf = null;
      this.invalidate();
    };
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
    document.addEventListener("theme", recolour);
  }

  #readInk() {
    const probe = byId("ink");
    this.ink = { font: `11px ${getComputedStyle(document.body).fontFamily}` };
    for (const name of INK) {
      probe.style.color = `var(--${name})`;
      this.ink[name] = getComputedStyle(probe).color;
    }
    this.ink.onColour = this.ink["on-colour"];
  }

  #paint() {
    this.#dirty = false;
    if (!this.store.video) return;
    this.#paintRuler();
    this.#paintLanes();
    this.#paintOverview();
  }

  #paintRuler() {
    const { viewport, ink, view } = this;
    const height = this.ruler.clientHeight;
    const context = fitted(this.ruler, viewport.width, height);
    drawRuler(context, viewport, height, ink);
    const [start, end] = [view.in ?? view.out, view.out ?? view.in];
    if (start !== null) drawStretch(context, viewport, [start, end], 0, height, ink.accent);
    drawPlayhead(context, viewport.x(this.now), height, ink, true);
    this.ruler.setAttribute("aria-valuemax", Math.round(this.store.duration * 10) / 10);
    this.ruler.setAttribute("aria-valuenow", Math.round(this.now * 10) / 10);
    this.ruler.setAttribute("aria-valuetext", spoken(this.now));
  }

  #paintLanes() {
    const { viewport, ink, view } = this;
    const height = this.scroller.clientHeight;
    const top = this.scroller.scrollTop;
    this.lanes.style.height = `${height}px`;
    const context = fitted(this.lanes, viewport.width, height);
    drawGrid(context, viewport, height, ink);
    for (const row of this.rows) {
      const y = row.y - top;
      if (y + row.height > 0 && y < height) this.#paintRow(context, row, y);
    }
    if (view.in !== null && view.out !== null) {
      drawStretch(context, viewport, [view.in, view.out], 0, height, ink.accent);
    }
    drawPlayhead(context, viewport.x(this.now), height, ink);
  }

  #paintRow(context, row, y) {
    const { viewport, ink, view } = this;
    context.fillStyle = ink.faint;
    context.fillRect(0, y + row.height - 1, viewport.width, 1);
    if (!row.isOpen) return;
    if (view.lane === row.query && row.lane) {
      context.globalAlpha = 0.5;
      context.fillRect(0, y, viewport.width, row.height - 1);
      context.globalAlpha = 1;
    }
    const { colour } = row;
    const source = row.lane ?? row.answer;
    drawSegments(context, viewport, source, {
      y,
      colour,
      ink,
      selected: view.selected,
      preview: this.preview,
    });
    if (row.lane) {
      const curve = this.#curveOf(row.query);
      drawCurve(context, viewport, curve, { y, height: row.height, colour, ink });
    }
    if (row.lane && !source.shown.length) this.#paintHint(context, row, y);
    const { making } = this;
    if (making?.query === row.query) {
      drawStretch(context, viewport, [making.start, making.end], y + 4, row.height - 8, colour);
    }
  }

  /** An empty lane says what to do next. */
  #paintHint(context, { lane: { below, query } }, y) {
    context.font = this.ink.font;
    context.fillStyle = this.ink.soft;
    context.textBaseline = "middle";
    const hint = below
      ? `${below} below the threshold: move its slider to the left, or drag here to add a moment`
      : "Nothing found: drag here to add a moment, or try other words";
    context.fillText(query.why ? whyHere(query.why) : hint, 10, y + BAR_TOP + BAR_HEIGHT / 2);
  }

  #curveOf(query) {
    const [start, end] = this.#detailed;
    const isHeld = start <= this.viewport.start && end >= this.viewport.end;
    return (isHeld && this.#details.get(query)) || this.#curves.get(query);
  }

  /** The overview's picture is made anew only when what it shows has changed. */
  #paintOverview() {
    const { clientWidth: width, clientHeight: height } = this.map;
    const { doc, duration } = this.store;
    const shows = [doc, this.view.hidden, width, height, duration];
    if (!this.#overviewOf || shows.some((part, i) => part !== this.#overviewOf[i])) {
      this.#overviewOf = shows;
      const all = lanesOf(doc).map((lane, i) => ({ lane, colour: colourOf(i) }));
      const open = all.filter(({ lane }) => !this.view.hidden.has(lane.query.query));
      const colours = open.map(({ colour }) => colour);
      const context = fitted(this.#overview, width, height);
      drawOverview(
        context,
        open.map(({ lane }) => lane),
        { width, height, duration, colours },
      );
    }
    const context = fitted(this.map, width, height);
    if (width && height) context.drawImage(this.#overview, 0, 0, width, height);
    this.#paintWindow(context, width, height);
    const x = (value) => (value / Math.max(duration, 0.001)) * width;
    drawPlayhead(context, x(this.now), height, this.ink);
  }

  #paintWindow(context, width, height) {
    const { viewport, ink } = this;
    if (viewport.isWhole) return;
    const left = (viewport.start / viewport.duration) * width;
    const wide = Math.max(8, (viewport.span / viewport.duration) * width);
    context.fillStyle = ink.sheet;
    context.globalAlpha = 0.6;
    context.fillRect(0, 0, left, height);
    context.fillRect(left + wide, 0, width, height);
    context.globalAlpha = 1;
    context.strokeStyle = ink.accent;
    context.lineWidth = 2;
    context.strokeRect(left + 1, 1, wide - 2, height - 2);
  }

  #loadDetailSoon = debounced(() => this.#loadDetail(), 200);

  /** Close up, the whole video's curves are too coarse: those of the stretch on view are fetched. */
  async #loadDetail() {
    const { viewport, store } = this;
    const id = store.video?.id;
    if (!id || viewport.span > viewport.duration / 3) {
      this.#details.clear();
      this.#asked = "";
      return this.invalidate();
    }
    const start = Math.max(0, viewport.start - viewport.span);
    const end = Math.min(viewport.duration, viewport.end + viewport.span);
    const options = { points: CURVE_POINTS, start_s: start.toFixed(2), end_s: end.toFixed(2) };
    const asked = clock(start, 2) + clock(end, 2);
    if (asked === this.#asked || !this.#curves.size) return undefined;
    this.#asked = asked;
    const curves = await api.curves(id, options).catch(() => null);
    if (!curves || this.#asked !== asked || store.video?.id !== id) return undefined;
    this.#details = new Map(curves.queries.map((curve) => [curve.query, curve]));
    this.#detailed = [start, end];
    return this.invalidate();
  }
}
