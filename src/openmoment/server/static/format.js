// How times, numbers and colours are written. Times are seconds everywhere.

const COLOURS = [
  "#3778c8",
  "#d5702a",
  "#2f9166",
  "#c2478f",
  "#8a63d2",
  "#a88414",
  "#2a8fa5",
  "#cf4a4a",
];
const GOLDEN = (Math.sqrt(5) - 1) / 2; // of the circle of hues, between queries after those
const TONES = [
  [45, 55],
  [60, 50],
  [38, 40],
];

/** The colour of the query with that index: the one the report gives it too. */
export function colourOf(index) {
  if (index < COLOURS.length) return COLOURS[index];
  const [lightness, saturation] = TONES[index % TONES.length];
  const hue = Math.round((((index * GOLDEN) % 1) * 360) % 360);
  return `hsl(${hue} ${saturation}% ${lightness}%)`;
}

/** Seconds as `m:ss.d` or `h:mm:ss.d`; `places` are the digits after the point. */
export function clock(seconds, places = 1) {
  const unit = 10 ** places;
  const ticks = Math.round(Math.max(0, seconds) * unit);
  const whole = Math.floor(ticks / unit);
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  const head = hours ? `${hours}:${pad(minutes, 2)}` : `${minutes}`;
  const tail = places ? `.${pad(ticks % unit, places)}` : "";
  return `${head}:${pad(whole % 60, 2)}${tail}`;
}

/** Seconds from `12.5`, `1:02.5` or `1:01:02.5`; NaN where it is none of them. */
export function parseClock(text) {
  const parts = text.trim().replace(",", ".").split(":");
  if (parts.length > 3 || parts.some((part) => !/^\d+(\.\d+)?$/.test(part))) return NaN;
  return parts.reduce((total, part) => total * 60 + Number(part), 0);
}

/** Seconds in words, for those who hear them: `1 minute 2.5 seconds`. */
export function spoken(seconds) {
  const minutes = Math.floor(seconds / 60);
  const rest = `${Number((seconds - minutes * 60).toFixed(1))} seconds`;
  return minutes ? `${counted(minutes, "minute")} ${rest}` : rest;
}

export function score(value) {
  return value === null || value === undefined ? "–" : value.toFixed(2);
}

export function counted(count, singular, plural = `${singular}s`) {
  return `${count.toLocaleString("en")} ${count === 1 ? singular : plural}`;
}

export function bytes(size) {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let at = 0;
  while (size >= 1000 && at < units.length - 1) {
    size /= 1000;
    at += 1;
  }
  return `${at && size < 100 ? size.toFixed(1) : Math.round(size)} ${units[at]}`;
}

function pad(number, digits) {
  return String(number).padStart(digits, "0");
}
