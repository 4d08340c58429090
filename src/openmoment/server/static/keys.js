// The keyboard: one table that both runs the keys and tells of them.

import { byId, h, icon } from "./dom.js";

const SIGNS = {
  ArrowLeft: "←",
  ArrowRight: "→",
  ArrowUp: "↑",
  ArrowDown: "↓",
  " ": "Space",
  Escape: "Esc",
};
const TYPED = "input:not([type=range]):not([type=checkbox]), textarea, select, [contenteditable]";
const PRESSED = "button, a, summary, [role=tab], input[type=checkbox]";
const LETTERS_OFF = "openmoment.letters";

/** Groups of [keys, what they do, how]. A how that gives false leaves the key to the browser. */
function tableOf({ actions, player, timeline, view }, { help, find, relabel, cancel }) {
  return {
    Play: [
      [[" "], "Play or pause", () => player.toggle()],
      [["Shift+ "], "Play the selected moment", () => actions.playSelected()],
      [["ArrowLeft"], "One frame back", () => player.stepFrame(-1)],
      [["ArrowRight"], "One frame on", () => player.stepFrame(1)],
      [["Shift+ArrowLeft"], "One second back", () => player.step(-1)],
      [["Shift+ArrowRight"], "One second on", () => player.step(1)],
      [["J"], "Backwards, faster with each press", () => player.shuttle(-1)],
      [["K"], "Pause", () => player.pause()],
      [["L"], "Forwards, faster with each press", () => player.shuttle(1)],
      [["Home"], "To the start", () => player.seek(0)],
      [["End"], "To the end", () => player.seek(Infinity)],
    ],
    Moments: [
      [["ArrowDown"], "Next moment", () => actions.go(1)],
      [["ArrowUp"], "Previous moment", () => actions.go(-1)],
      [["Tab"], "Next moment, on the timeline", (event) => tab(event, 1)],
      [["Shift+Tab"], "Previous moment, on the timeline", (event) => tab(event, -1)],
      [["Y"], "Accept; again: open", () => actions.accept()],
      [["N"], "Reject; again: open", () => actions.reject()],
      [["R"], "Relabel", relabel],
      [["S"], "Split at the playhead", () => actions.split()],
      [["M"], "Merge with the next of its query", () => actions.merge()],
      [["["], "Start it at the playhead", () => actions.setEdge("start")],
      [["]"], "End it at the playhead", () => actions.setEdge("end")],
      [["Delete", "Backspace"], "Delete", () => actions.remove()],
      [["I"], "In point of a new moment", () => actions.setPoint("in")],
      [["O"], "Out point of a new moment", () => actions.setPoint("out")],
      [["Enter", "A"], "Add a moment from in to out", () => actions.addFromPoints()],
      [numbers(), "The lane that new moments go to", (event) => actions.chooseLane(event.key - 1)],
    ],
    Edit: [
      [["Ctrl+Z"], "Undo", () => actions.undo()],
      [["Ctrl+Shift+Z", "Ctrl+Y"], "Redo", () => actions.redo()],
      [["Escape"], "Select nothing; leave the timeline", cancel],
    ],
    View: [
      [["+", "="], "Zoom in", () => timeline.zoom(0.5)],
      [["-"], "Zoom out", () => timeline.zoom(2)],
      [["0"], "Whole video", () => timeline.fit()],
      [["/"], "Type what to find", find],
      [["?"], "These keys", help],
    ],
  };

  function tab(event, direction) {
    const isThere = event.target === byId("tracks");
    if (!isThere || (direction < 0 && view.selected === null)) return false;
    return actions.go(direction);
  }
}

function numbers() {
  return Array.from({ length: 9 }, (_, i) => String(i + 1));
}

export class Keys {
  constructor(parts, commands) {
    this.table = tableOf(parts, { ...commands, help: () => this.show() });
    this.keys = new Map();
    for (const rows of Object.values(this.table)) {
      for (const [keys, , run] of rows) for (const key of keys) this.keys.set(key, run);
    }
    this.areLettersOff = localStorage.getItem(LETTERS_OFF) === "off";
    this.dialog = byId("keys");
    this.#build();
    document.addEventListener("keydown", (event) => this.#press(event));
  }

  show() {
    this.dialog.showModal();
  }

  #press(event) {
    if (event.defaultPrevented || byId("editor").hidden || document.querySelector("dialog[open]")) {
      return;
    }
    const key = nameOf(event);
    if (key === "Escape" && event.target.matches(TYPED)) {
      byId("tracks").focus({ preventScroll: true });
      return;
    }
    const run = this.keys.get(key);
    if (!run || !this.#isOurs(event, key)) return;
    if (run(event) !== false) event.preventDefault();
  }

  /** Whether the key is free: it types nothing, presses no button, moves no slider. */
  #isOurs(event, key) {
    const { target } = event;
    if (this.areLettersOff && key.length === 1 && key !== " ") return false;
    if (target.matches(TYPED)) return false;
    const isChosenByKey = target.matches(":focus-visible");
    if (target.matches("input[type=range]")) return !/^(Arrow|Home|End)/.test(key);
    if (!target.matches(PRESSED)) return true;
    if (target.matches("[role=tab]") && /^(Arrow|Home|End)/.test(key)) return false;
    return !(isChosenByKey && (key === " " || key === "Enter"));
  }

  #build() {
    const letters = h("input", {
      type: "checkbox",
      checked: !this.areLettersOff,
      onchange: (event) => {
        this.areLettersOff = !event.target.checked;
        localStorage.setItem(LETTERS_OFF, this.areLettersOff ? "off" : "on");
      },
    });
    const close = h(
      "button",
      {
        type: "button",
        class: "bare",
        "aria-label": "Close",
        onclick: () => this.dialog.close(),
      },
      icon("reject"),
    );
    this.dialog.append(
      h("header", {}, h("h2", { id: "keys-title", text: "Keys" }), close),
      h(
        "div",
        { class: "groups" },
        Object.entries(this.table).map(([group, rows]) => groupOf(group, rows)),
      ),
      h("label", {}, letters, " Keys of one letter or sign are on"),
    );
    this.dialog.addEventListener("click", (event) => {
      if (event.target === this.dialog) this.dialog.close();
    });
  }
}

function groupOf(group, rows) {
  const lines = rows.flatMap(([keys, does]) => [
    h(
      "dt",
      {},
      shownKeys(keys).map((key) => h("kbd", { text: key })),
    ),
    h("dd", { text: does }),
  ]);
  return h("section", {}, h("h3", { text: group }), h("dl", {}, lines));
}

function shownKeys(keys) {
  if (keys.length > 2) return [`${keys[0]}–${keys.at(-1)}`];
  return keys.map(
    (key) =>
      key
        .split("+")
        .map((part) => SIGNS[part] ?? part)
        .join("+") || "+",
  );
}

/** As the table has it: `Ctrl+Shift+Z`, `Shift+ArrowLeft`, `?`. */
function nameOf(event) {
  const key = event.key.length === 1 ? event.key.toUpperCase() : event.key;
  const isSign = key.length === 1 && !/[A-Z ]/.test(key);
  const ctrl = event.ctrlKey || event.metaKey ? "Ctrl+" : "";
  const alt = event.altKey ? "Alt+" : "";
  return `${ctrl}${alt}${event.shiftKey && !isSign ? "Shift+" : ""}${key}`;
}
