// Small helpers over the DOM. Text is only ever set as text, so a name can hold any characters.

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element. `on…` are listeners, `class`, `text` and `aria-…` what they say, a property of the
 * element is set as one, the rest become attributes; null, undefined and false leave a thing out.
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) setProp(element, name, value);
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

function setProp(element, name, value) {
  if (value === null || value === undefined) return;
  if (name.startsWith("aria-")) return void element.setAttribute(name, value);
  if (value === false) return;
  if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
  else if (name === "class") element.className = value;
  else if (name === "text") element.append(value);
  else if (name === "colour") element.style.setProperty("--colour", value);
  else if (name === "value" || name === "checked" || name === "disabled") element[name] = value;
  else element.setAttribute(name, value === true ? "" : value);
}

/** A name that others chose: it keeps its own direction of writing and its own bounds. */
export function name(text, props = {}) {
  return h("bdi", { ...props, text, title: text });
}

/** The element with that id; the page's own, so it has to be there. */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`no element #${id}`);
  return element;
}

const SHAPES = {
  accept: "M3 8.5 6.5 12 13 4.5",
  reject: "M4 4l8 8M12 4l-8 8",
  play: "M5 3.5v9l7.5-4.5z",
  pause: "M5.5 3.5v9M10.5 3.5v9",
  previous: "M11.5 3.5 6 8l5.5 4.5zM4 3.5v9",
  next: "M4.5 3.5 10 8l-5.5 4.5zM12 3.5v9",
  undo: "M6 3 2.5 6.5 6 10M2.5 6.5H10a3.5 3.5 0 0 1 0 7H7",
  redo: "M10 3l3.5 3.5L10 10M13.5 6.5H6a3.5 3.5 0 0 0 0 7h3",
  split: "M8 2v12M5.5 5.5 3 8l2.5 2.5M10.5 5.5 13 8l-2.5 2.5",
  merge: "M8 2v12M2.5 5.5 5 8l-2.5 2.5M13.5 5.5 11 8l2.5 2.5",
  remove: "M3 4.5h10M6.5 4.5V3h3v1.5M4.5 4.5l.5 9h6l.5-9M7 7v4M9 7v4",
  zoomIn: "M7 2.5a4.5 4.5 0 1 1 0 9 4.5 4.5 0 0 1 0-9M10.5 10.5 14 14M7 5v4M5 7h4",
  zoomOut: "M7 2.5a4.5 4.5 0 1 1 0 9 4.5 4.5 0 0 1 0-9M10.5 10.5 14 14M5 7h4",
  fit: "M2.5 3v10M13.5 3v10M5 8h6M6.5 6 4.5 8l2 2M9.5 6l2 2-2 2",
  magnet: "M3.5 3v5a4.5 4.5 0 0 0 9 0V3h-3v5a1.5 1.5 0 0 1-3 0V3zM3.5 5.5h3M9.5 5.5h3",
  shown:
    "M1.5 8S4 3.5 8 3.5 14.5 8 14.5 8 12 12.5 8 12.5 1.5 8 1.5 8zM8 6a2 2 0 1 1 0 4 2 2 0 0 1 0-4",
  hidden: "M1.5 8S4 3.5 8 3.5 14.5 8 14.5 8 12 12.5 8 12.5 1.5 8 1.5 8zM2.5 13.5l11-11",
  repeat:
    "M4 5.5h6.5A2.5 2.5 0 0 1 13 8M12 10.5H5.5A2.5 2.5 0 0 1 3 8M6 3 3.5 5.5 6 8M10 8l2.5 2.5L10 13",
  upload: "M8 11V3M4.5 6 8 2.5 11.5 6M2.5 10.5V13h11v-2.5",
  theme: "M8 2.5a5.5 5.5 0 1 0 0 11zM8 2.5a5.5 5.5 0 0 1 0 11",
  sound: "M2.5 6v4H5l3.5 3V3L5 6zM11 6a3 3 0 0 1 0 4M12.5 4a5.5 5.5 0 0 1 0 8",
  muted: "M2.5 6v4H5l3.5 3V3L5 6zM11 6.5l3 3M14 6.5l-3 3",
  film: "M2.5 3.5h11v9h-11zM5.5 3.5v9M10.5 3.5v9M2.5 8h11",
};

export function icon(shape) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  svg.classList.add("icon");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", SHAPES[shape]);
  svg.append(path);
  return svg;
}

/** A button with a picture; `label` is its name and, with its key, its tooltip. */
export function iconButton(shape, label, onclick, { key, text, ...props } = {}) {
  const title = key ? `${label} (${key})` : label;
  const words = text ? [h("span", { text })] : [];
  const told = { "aria-label": label, "aria-keyshortcuts": key ? ariaKey(key) : null };
  return h("button", { type: "button", title, ...told, ...props, onclick }, icon(shape), ...words);
}

function ariaKey(key) {
  return key.replace("Ctrl", "Control").replaceAll(" ", "");
}

/** Puts the picture of a state into a button that has two. */
export function setIcon(button, shape, label) {
  if (button.dataset.shape === shape) return;
  button.dataset.shape = shape;
  button.querySelector(".icon").replaceWith(icon(shape));
  button.setAttribute("aria-label", label);
  button.title = label;
}

/** Calls `done` once things have been quiet for `wait` milliseconds. */
export function debounced(done, wait) {
  let timer = 0;
  return (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => done(...args), wait);
  };
}
