// Pointer and wheel on the timeline: seek, select, drag, add, scroll and zoom; by mouse or touch.

import { BAR_HEIGHT, BAR_TOP, onView } from "./drawing.js";
import { bounded } from "./state.js";

const SLACK = 4; // pixels that a click may move
const SNAP = 8;
const GRIP = { mouse: 6, pen: 10, touch: 22 };

export class Gestures {
  #drag = null; // {move(event), end(event)} of the gesture under way
  #touches = new Map();
  #pinch = null;

  constructor(timeline, actions, player) {
    this.timeline = timeline;
    this.actions = actions;
    this.player = player;
    this.store = timeline.store;
    this.view = timeline.view;
    this.#follow(timeline.lanes, (event) => this.#pressLanes(event));
    this.#follow(timeline.ruler, () => this.#scrub());
    this.#follow(timeline.map, (event) => this.#pressOverview(event));
    for (const canvas of [timeline.lanes, timeline.ruler, timeline.map]) {
      canvas.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    }
    timeline.lanes.addEventListener("pointermove", (event) => this.#hover(event));
  }

  #follow(canvas, press) {
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      canvas.setPointerCapture(event.pointerId);
      if (event.pointerType === "touch" && this.#pinched(event)) return;
      this.#drag = press(event);
      this.#drag?.move?.(event);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (this.#touches.has(event.pointerId)) this.#touches.set(event.pointerId, event);
      if (this.#pinch) this.#movePinch();
      else this.#drag?.move?.(event);
    });
    const release = (event) => {
      this.#touches.delete(event.pointerId);
      if (this.#touches.size < 2) this.#pinch = null;
      const drag = this.#drag;
      this.#drag = null;
      if (event.type === "pointerup") drag?.end?.(event);
      else drag?.cancel?.();
    };
    canvas.addEventListener("pointerup", release);
    canvas.addEventListener("pointercancel", release);
  }

  /** Ends what the pointer was doing, with nothing changed. */
  cancel() {
    this.#drag?.cancel?.();
    this.#drag = null;
  }

  #seconds(event) {
    const { left } = this.timeline.ruler.getBoundingClientRect();
    return this.timeline.viewport.seconds(event.clientX - left);
  }

  // Two fingers

  #pinched(event) {
    this.#touches.set(event.pointerId, event);
    if (this.#touches.size !== 2) return false;
    this.cancel();
    const { distance, middle } = this.#fingers();
    this.#pinch = { distance, anchor: this.timeline.viewport.seconds(middle) };
    return true;
  }

  #movePinch() {
    const { distance, middle } = this.#fingers();
    const { viewport } = this.timeline;
    viewport.zoom(this.#pinch.distance / Math.max(10, distance), this.#pinch.anchor);
    viewport.pan(this.#pinch.anchor - viewport.seconds(middle));
    this.#pinch.distance = distance;
    this.timeline.moved();
  }

  #fingers() {
    const [one, other] = [...this.#touches.values()];
    const { left } = this.timeline.ruler.getBoundingClientRect();
    const middle = (one.clientX + other.clientX) / 2 - left;
    return { distance: Math.abs(one.clientX - other.clientX), middle };
  }

  // Wheel

  #wheel(event) {
    event.preventDefault();
    const { timeline } = this;
    const unit = event.deltaMode === 1 ? 16 : 1;
    const [dx, dy] = [event.deltaX * unit, event.deltaY * unit];
    if (event.ctrlKey || event.metaKey) {
      return timeline.zoom(
        Math.exp(Math.max(-100, Math.min(100, dy)) * 0.004),
        this.#seconds(event),
      );
    }
    const { scroller } = timeline;
    const hasMore = scroller.scrollHeight > scroller.clientHeight + 1;
    const isDown = hasMore && !event.shiftKey && event.currentTarget === timeline.lanes;
    if (isDown && Math.abs(dy) > Math.abs(dx)) scroller.scrollTop += dy;
    else {
      timeline.viewport.pan((dx || dy) * timeline.viewport.perPixel());
      timeline.moved();
    }
    return undefined;
  }

  // Ruler and overview

  #scrub() {
    return { move: (event) => this.player.seek(this.#seconds(event)) };
  }

  #pressOverview(event) {
    const { timeline } = this;
    const { viewport } = timeline;
    const box = timeline.map.getBoundingClientRect();
    const at = (one) => ((one.clientX - box.left) / box.width) * viewport.duration;
    const isInside = at(event) >= viewport.start && at(event) <= viewport.end;
    const offset = isInside && !viewport.isWhole ? at(event) - viewport.start : viewport.span / 2;
    const move = (moved) => {
      viewport.pan(at(moved) - offset - viewport.start);
      timeline.moved();
    };
    const end = (ended) => {
      if (Math.abs(ended.clientX - event.clientX) <= SLACK) this.player.seek(at(ended));
    };
    return { move, end };
  }

  // Lanes

  #pressLanes(event) {
    const target = this.#target(event);
    if (!target) return this.#pressEmpty(event, null);
    if (!target.segment) return this.#pressEmpty(event, target.row);
    const isTouch = event.pointerType === "touch";
    const isSelected = target.segment.id === this.view.selected;
    if (!target.row.lane)
      return this.#onlyClick(event, () => this.actions.playAnswer(target.segment));
    if (isTouch && !isSelected) return this.#pressEmpty(event, target.row, target.segment);
    return this.#dragSegment(event, target);
  }

  #onlyClick(event, done) {
    return { end: (ended) => distance(event, ended) <= SLACK && done() };
  }

  /** On nothing: a click seeks; a drag adds a segment, or pans with a finger. */
  #pressEmpty(event, row, tapped = null) {
    const isClick = (ended) => distance(event, ended) <= 2 * SLACK;
    const click = (ended) => {
      if (tapped) return this.actions.choose(tapped.id);
      this.view.set({ selected: null, lane: row?.lane ? row.query : this.view.lane });
      return this.player.seek(this.#seconds(ended));
    };
    if (event.pointerType === "touch") return this.#pan(event, isClick, click);
    if (!row?.lane || !row.isOpen) return { end: (ended) => isClick(ended) && click(ended) };
    return this.#make(event, row, isClick, click);
  }

  #pan(event, isClick, click) {
    const { timeline } = this;
    let [x, y] = [event.clientX, event.clientY];
    const move = (moved) => {
      timeline.viewport.pan((x - moved.clientX) * timeline.viewport.perPixel());
      timeline.scroller.scrollTop += y - moved.clientY;
      [x, y] = [moved.clientX, moved.clientY];
      timeline.moved();
    };
    return { move, end: (ended) => isClick(ended) && click(ended) };
  }

  #make(event, row, isClick, click) {
    const { timeline } = this;
    const from = this.#snapped(this.#seconds(event), null);
    const move = (moved) => {
      const to = this.#snapped(this.#seconds(moved), null);
      const [start, end] = bounded(from, to, this.store.duration);
      timeline.making = isClick(moved) ? null : { query: row.query, start, end };
      timeline.invalidate();
    };
    const cancel = () => {
      timeline.making = null;
      timeline.invalidate();
    };
    const end = (ended) => {
      const made = timeline.making;
      cancel();
      if (made) this.actions.add(made.query, made.start, made.end);
      else click(ended);
    };
    return { move, end, cancel };
  }

  #dragSegment(event, { segment, part }) {
    const { timeline, store } = this;
    const from = this.#seconds(event);
    let hasMoved = false;
    const move = (moved) => {
      hasMoved ||= distance(event, moved) > SLACK;
      if (!hasMoved) return;
      const [start, end] = this.#shifted(segment, part, this.#seconds(moved) - from);
      timeline.preview = { id: segment.id, start_s: start, end_s: end };
      if (this.view.selected !== segment.id) this.view.set({ selected: segment.id });
      this.player.seek(part === "end" ? end : start);
      timeline.invalidate();
    };
    const cancel = () => {
      timeline.preview = null;
      timeline.invalidate();
    };
    const end = () => {
      const { preview } = timeline;
      cancel();
      if (preview) this.actions.move(segment.id, preview.start_s, preview.end_s);
      else this.actions.choose(segment.id);
    };
    store.endRun();
    return { move, end, cancel };
  }

  #shifted(segment, part, by) {
    const { start_s: start, end_s: end, id } = segment;
    const { duration } = this.store;
    if (part === "start")
      return bounded(Math.min(this.#snapped(start + by, id), end - 0.04), end, duration);
    if (part === "end")
      return bounded(start, Math.max(this.#snapped(end + by, id), start + 0.04), duration);
    const length = end - start;
    const [first, last] = [this.#snapped(start + by, id), this.#snapped(end + by, id)];
    const isLast = first === start + by && last !== end + by;
    const free = isLast ? last - length : first;
    const at = Math.max(0, Math.min(free, duration - length));
    return bounded(at, at + length, duration);
  }

  /** The nearest end of another segment, or the playhead, if one is near and snapping is on. */
  #snapped(seconds, id) {
    if (!this.view.snap) return seconds;
    const { viewport, now, rows } = this.timeline;
    const reach = SNAP * viewport.perPixel();
    let [best, least] = [seconds, reach];
    const consider = (at) => {
      const away = Math.abs(at - seconds);
      if (away < least) [best, least] = [at, away];
    };
    consider(now);
    const near = { start: seconds - reach, end: seconds + reach };
    for (const row of rows) {
      if (!row.lane || !row.isOpen) continue;
      for (const segment of onView(row.lane, near)) {
        if (segment.id === id) continue;
        consider(segment.start_s);
        consider(segment.end_s);
      }
    }
    return best;
  }

  /** The row under the pointer, and which part of which segment of it. */
  #target(event) {
    const { timeline } = this;
    const box = timeline.lanes.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const row = timeline.rowAt(y);
    if (!row) return null;
    const inside = y + timeline.scroller.scrollTop - row.y - BAR_TOP;
    if (!row.isOpen || inside < -BAR_TOP || inside > BAR_HEIGHT + 3) return { row };
    const grip = GRIP[event.pointerType] ?? GRIP.mouse;
    return { row, ...this.#segmentAt(row, x, grip) };
  }

  #segmentAt(row, x, grip) {
    const { viewport } = this.timeline;
    const reach = grip * viewport.perPixel();
    const at = viewport.seconds(x);
    const source = row.lane ?? row.answer;
    const near = [...onView(source, { start: at - reach, end: at + reach })];
    const selected = near.find((segment) => segment.id === this.view.selected);
    if (selected) return { segment: selected, part: this.#part(selected, x, grip, true) };
    const under = near.filter((segment) => isUnder(segment, at, 2 * viewport.perPixel()));
    under.sort((a, b) => a.end_s - a.start_s - (b.end_s - b.start_s));
    const segment = under[0] ?? null;
    return segment ? { segment, part: this.#part(segment, x, grip, false) } : {};
  }

  /** "start", "end" or "body"; a narrow segment has ends only once it is selected, then outside. */
  #part(segment, x, grip, isSelected) {
    const { viewport } = this.timeline;
    const [left, right] = [viewport.x(segment.start_s), viewport.x(segment.end_s)];
    const inner = Math.min(grip, (right - left) / 4);
    if (!isSelected && right - left < 4 * grip) return "body";
    if (x <= left + inner) return "start";
    return x >= right - inner ? "end" : "body";
  }

  #hover(event) {
    if (event.pointerType === "touch" || this.#drag) return;
    const target = this.#target(event);
    const cursor = { start: "ew-resize", end: "ew-resize", body: "pointer" };
    const isLane = target?.row?.lane && target.row.isOpen;
    const shape = target?.segment ? cursor[target.row.lane ? target.part : "body"] : null;
    this.timeline.lanes.style.cursor = shape ?? (isLane ? "crosshair" : "default");
  }
}

function isUnder(segment, at, slack) {
  return segment.start_s - slack <= at && segment.end_s + slack >= at;
}

function distance(a, b) {
  return Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
}
