// Which stretch of the video the timeline shows, and between pixels and seconds. No DOM.

const SHORTEST = 0.5; // seconds on view
const STEPS = [
  0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200,
  86400,
];

export class Viewport {
  start = 0;
  span = 1;
  duration = 1;
  width = 1; // pixels

  get end() {
    return this.start + this.span;
  }

  get isWhole() {
    return this.span >= this.duration - 1e-6;
  }

  x(seconds) {
    return ((seconds - this.start) / this.span) * this.width;
  }

  seconds(x) {
    return this.start + (x / this.width) * this.span;
  }

  perPixel() {
    return this.span / this.width;
  }

  fit(duration = this.duration) {
    this.duration = Math.max(duration, 0.001);
    this.show(0, this.duration);
  }

  /** The stretch from `start` to `end`, as far as the video has it. */
  show(start, end) {
    const span = Math.max(Math.min(SHORTEST, this.duration), end - start);
    this.span = Math.min(this.duration, span);
    this.start = Math.max(0, Math.min(start, this.duration - this.span));
  }

  /** Shows `factor` times as much, with `anchor` (seconds) staying where it is. */
  zoom(factor, anchor) {
    const least = Math.min(SHORTEST, this.duration);
    const span = Math.max(least, Math.min(this.duration, this.span * factor));
    const start = anchor - ((anchor - this.start) / this.span) * span;
    this.show(start, start + span);
  }

  pan(seconds) {
    this.show(this.start + seconds, this.start + seconds + this.span);
  }

  /** Moves only as far as it takes to have the stretch on view, with a margin. */
  reveal(start, end = start) {
    const margin = this.span * 0.08;
    if (start >= this.start && end <= this.end) return false;
    if (end - start > this.span || start < this.start) this.pan(start - margin - this.start);
    else this.pan(end + margin - this.end);
    return true;
  }

  /** Round times on view, about `apart` pixels from each other, and how many decimals tell them. */
  ticks(apart = 90) {
    const wanted = this.perPixel() * apart;
    const step = STEPS.find((one) => one >= wanted) ?? STEPS.at(-1);
    const first = Math.ceil(this.start / step - 1e-9);
    const last = Math.floor(this.end / step + 1e-9);
    const times = Array.from(
      { length: Math.max(0, last - first + 1) },
      (_, i) => (first + i) * step,
    );
    return { times, places: step < 1 ? 1 : 0 };
  }
}
