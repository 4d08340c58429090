// How the timeline's parts are painted on a canvas. Only what is on view is gone through.

import { clock, score } from "./format.js";
import { ACCEPTED, firstAbove, OPEN, REJECTED } from "./state.js";

export const BAR_TOP = 7;
export const BAR_HEIGHT = 26;
const CURVE_GAP = 5;
const PLAINEST = 3; // pixels: narrower bars have neither outline nor pattern
const ORDER = [REJECTED, OPEN, ACCEPTED];

/** A canvas that is as sharp as the screen; `context` draws in CSS pixels. */
export function fitted(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== wide || canvas.height !== high) [canvas.width, canvas.height] = [wide, high];
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

export function drawRuler(context, viewport, height, ink) {
  const { times, places } = viewport.ticks();
  context.font = ink.font;
  context.textBaseline = "middle";
  context.fillStyle = ink.soft;
  for (const time of times) {
    const x = Math.round(viewport.x(time)) + 0.5;
    context.fillRect(x - 0.5, height - 6, 1, 6);
    const label = clock(time, places);
    const width = context.measureText(label).width;
    if (x + 4 + width < viewport.width) context.fillText(label, x + 4, height / 2);
  }
}

export function drawGrid(context, viewport, height, ink) {
  context.fillStyle = ink.faint;
  for (const time of viewport.ticks().times) {
    context.fillRect(Math.round(viewport.x(time)), 0, 1, height);
  }
}

/** The segments of a lane: rejected lowest, then open, accepted, and the selected one on top. */
export function drawSegments(context, viewport, lane, options) {
  const passes = new Map(ORDER.map((status) => [status, []]));
  let selected = null;
  for (const segment of onView(lane, viewport)) {
    const shape = options.preview?.id === segment.id ? options.preview : segment;
    if (segment.id === options.selected) selected = { ...segment, ...times(shape) };
    else
      passes
        .get(segment.status)
        .push(shape === segment ? segment : { ...segment, ...times(shape) });
  }
  for (const status of ORDER) drawPass(context, viewport, passes.get(status), options);
  if (!selected) return;
  drawBar(context, box(viewport, selected, options.y), selected, options);
  drawSelection(context, box(viewport, selected, options.y), options.ink);
}

function times(shape) {
  return { start_s: shape.start_s, end_s: shape.end_s };
}

/** The segments of a lane that touch the stretch on view, by start. */
export function* onView(lane, { start, end }) {
  for (let i = firstAbove(lane.ends, start); i < lane.shown.length; i += 1) {
    const segment = lane.shown[i];
    if (segment.start_s >= end) return;
    if (segment.end_s > start) yield segment;
  }
}

/** Bars of one status; those that would fall on pixels already painted are left out. */
function drawPass(context, viewport, segments, options) {
  let painted = -1;
  for (const segment of segments) {
    const bar = box(viewport, segment, options.y);
    if (bar.right <= painted) continue;
    drawBar(context, bar, segment, options);
    if (bar.width <= PLAINEST) painted = bar.right;
  }
}

function box(viewport, segment, y) {
  const left = Math.max(-4, viewport.x(segment.start_s));
  const right = Math.min(viewport.width + 4, Math.max(left + 2, viewport.x(segment.end_s)));
  return { left, right, width: right - left, top: y + BAR_TOP };
}

function drawBar(context, bar, segment, { colour, ink }) {
  const { left, top, width } = bar;
  context.fillStyle = context.strokeStyle = colour;
  if (width <= PLAINEST) {
    context.globalAlpha = { open: 0.55, accepted: 1, rejected: 0.2 }[segment.status];
    context.fillRect(left, top, width, BAR_HEIGHT);
    context.globalAlpha = 1;
    return;
  }
  const path = new Path2D();
  path.roundRect(left + 0.75, top + 0.75, width - 1.5, BAR_HEIGHT - 1.5, Math.min(4, width / 3));
  ({ open: drawOpen, accepted: drawAccepted, rejected: drawRejected })[segment.status](
    context,
    path,
    bar,
    ink,
  );
  if (width > 46 && segment.score !== null) drawScore(context, bar, segment, ink);
}

function drawOpen(context, path) {
  context.globalAlpha = 0.18;
  context.fill(path);
  context.globalAlpha = 1;
  context.lineWidth = 1.5;
  context.stroke(path);
}

function drawAccepted(context, path, bar, ink) {
  context.fill(path);
  if (bar.width < 18) return;
  const [x, y] = [bar.left + 6, bar.top + BAR_HEIGHT / 2];
  context.strokeStyle = ink.onColour;
  context.lineWidth = 1.75;
  polyline(context, [x, y], [x + 2.75, y + 3], [x + 8, y - 3.5]);
}

function drawRejected(context, path, bar, ink) {
  context.save();
  context.clip(path);
  context.globalAlpha = 0.35;
  context.lineWidth = 1;
  context.beginPath();
  const first = Math.floor((bar.left - BAR_HEIGHT) / 6) * 6; // the same lines wherever it starts
  for (let x = first; x < bar.right; x += 6) {
    context.moveTo(x, bar.top + BAR_HEIGHT);
    context.lineTo(x + BAR_HEIGHT, bar.top);
  }
  context.stroke();
  context.restore();
  context.globalAlpha = 0.6;
  context.lineWidth = 1;
  context.setLineDash([3, 3]);
  context.stroke(path);
  context.setLineDash([]);
  context.globalAlpha = 1;
  context.fillStyle = ink.soft;
  const y = bar.top + BAR_HEIGHT / 2;
  context.fillRect(bar.left + 3, y - 0.5, bar.width - 6, 1);
}

function drawScore(context, bar, segment, ink) {
  context.font = ink.font;
  context.textBaseline = "middle";
  context.textAlign = "right";
  context.fillStyle = segment.status === ACCEPTED ? ink.onColour : ink.text;
  if (segment.status !== REJECTED) {
    context.fillText(score(segment.score), bar.right - 6, bar.top + BAR_HEIGHT / 2 + 0.5);
  }
  context.textAlign = "left";
}

/** A ring, and a grip at each end. */
function drawSelection(context, { left, top, width }, ink) {
  context.strokeStyle = ink.sheet;
  context.lineWidth = 4;
  context.strokeRect(left - 1.5, top - 1.5, width + 3, BAR_HEIGHT + 3);
  context.strokeStyle = ink.text;
  context.lineWidth = 2;
  context.strokeRect(left - 1.5, top - 1.5, width + 3, BAR_HEIGHT + 3);
  if (width < 8) return;
  context.fillStyle = ink.text;
  for (const x of [left - 4, left + width]) {
    context.beginPath();
    context.roundRect(x, top + 5, 4, BAR_HEIGHT - 10, 2);
    context.fill();
  }
}

/** The curve, filled to the lane's floor, and across it from where its query seems to occur. */
export function drawCurve(context, viewport, curve, { y, height, colour, ink }) {
  const top = y + BAR_TOP + BAR_HEIGHT + CURVE_GAP;
  const high = y + height - 3 - top;
  const level = (value) => top + (1 - Math.min(1, Math.max(0, value))) * high;
  if (curve?.times_s.length) {
    const line = curveLine(viewport, curve, level);
    context.strokeStyle = context.fillStyle = colour;
    context.lineWidth = 1.25;
    context.lineJoin = "round";
    context.stroke(line.path);
    line.path.lineTo(line.last, top + high);
    line.path.lineTo(line.first, top + high);
    context.globalAlpha = 0.14;
    context.fill(line.path);
    context.globalAlpha = 1;
  }
  if (typeof curve?.occurs_at !== "number") return;
  context.strokeStyle = ink.soft;
  context.lineWidth = 1;
  context.setLineDash([2, 4]);
  const at = Math.round(level(curve.occurs_at)) + 0.5;
  polyline(context, [0, at], [viewport.width, at]);
  context.setLineDash([]);
}

function curveLine(viewport, { times_s: at, scores }, level) {
  const begin = Math.max(0, firstAbove(at, viewport.start) - 1);
  const stop = Math.min(at.length, firstAbove(at, viewport.end) + 1);
  const path = new Path2D();
  for (let i = begin; i < stop; i += 1) {
    const [x, y] = [viewport.x(at[i]), level(scores[i])];
    if (i === begin) path.moveTo(x, y);
    else path.lineTo(x, y);
  }
  return { path, first: viewport.x(at[begin]), last: viewport.x(at[stop - 1]) };
}

/** A stretch of time across the whole height: in to out, or a segment in the making. */
export function drawStretch(context, viewport, [start, end], top, height, colour) {
  const [left, right] = [viewport.x(start), viewport.x(end)];
  context.fillStyle = colour;
  context.globalAlpha = 0.16;
  context.fillRect(left, top, right - left, height);
  context.globalAlpha = 1;
  context.fillRect(left, top, 1.5, height);
  context.fillRect(right - 1.5, top, 1.5, height);
}

export function drawPlayhead(context, x, height, ink, hasHead = false) {
  context.fillStyle = ink.play;
  context.fillRect(x - 1, 0, 2, height);
  if (!hasHead) return;
  context.beginPath();
  context.moveTo(x - 6, height - 9);
  context.lineTo(x + 6, height - 9);
  context.lineTo(x, height);
  context.fill();
}

/** Every lane as a thin row over the whole video. */
export function drawOverview(context, lanes, { width, height, duration, colours }) {
  const row = Math.max(2, Math.min(7, (height - 6) / Math.max(1, lanes.length)));
  const top = (height - row * lanes.length) / 2;
  lanes.forEach((lane, i) => {
    context.fillStyle = colours[i];
    let painted = -1;
    for (const segment of lane.shown) {
      const left = (segment.start_s / duration) * width;
      const right = Math.max(left + 1, (segment.end_s / duration) * width);
      if (segment.status === REJECTED || right <= painted) continue;
      context.globalAlpha = segment.status === OPEN ? 0.55 : 1;
      context.fillRect(left, top + i * row, right - left, Math.max(1, row - 1));
      painted = Math.floor(right);
    }
  });
  context.globalAlpha = 1;
}

function polyline(context, ...points) {
  context.beginPath();
  for (const [x, y] of points) context.lineTo(x, y);
  context.stroke();
}
