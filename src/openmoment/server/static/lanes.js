// The heads of the lanes: name, presence, threshold, what a person says of the query.

import { byId, h, iconButton, name, setIcon } from "./dom.js";
import { colourOf, score } from "./format.js";
import { lanesOf, largestSoFar, whyHere } from "./state.js";

const ANSWER_COLOUR = "#7a828c";
const PRESENCE_TITLE = "How sure it is that this occurs in the video, from 0 to 1";
const USUAL = { min_presence: 0.5, sure: 0.5 }; // where the method does not say

export class Lanes {
  #heads = new Map(); // of each query: the parts that change
  #names = [];

  constructor({ store, view, timeline, actions }) {
    Object.assign(this, { store, view, timeline, actions });
    this.box = byId("heads");
    store.addEventListener("change", () => this.render());
    view.addEventListener("change", () => this.render());
    new ResizeObserver(() => this.#layOut()).observe(this.box);
  }

  render() {
    const names = this.store.doc.queries.map(({ query }) => query);
    const isSame =
      names.length === this.#names.length && names.every((one, i) => one === this.#names[i]);
    if (!isSame || this.answer !== this.view.answer) this.#rebuild(names);
    for (const lane of lanesOf(this.store.doc)) this.#update(lane);
    byId("no-lanes").hidden = names.length > 0;
    this.#showNotes();
    this.#layOut();
  }

  /** How far what was predicted can be trusted, once for all lanes. */
  #showNotes() {
    const notes = [...new Set(this.store.doc.queries.flatMap(({ notes }) => notes ?? []))];
    const box = byId("lane-notes");
    if (notes.join() === box.dataset.shows) return;
    box.dataset.shows = notes.join();
    box.replaceChildren(...notes.map((text) => h("p", { class: "note", text })));
  }

  #rebuild(names) {
    this.#names = names;
    this.answer = this.view.answer;
    this.#heads = new Map(names.map((query, i) => [query, this.#head(query, colourOf(i))]));
    this.box.replaceChildren(...[...this.#heads.values()].map(({ head }) => head));
    if (this.answer) this.box.prepend(this.#answerHead());
  }

  #head(query, colour) {
    const { actions, view } = this;
    const eye = iconButton("shown", `Hide ${query}`, () => view.toggleLane(query), {
      class: "bare eye",
    });
    const title = h(
      "button",
      {
        type: "button",
        class: "lane-name",
        onclick: () => view.set({ lane: query }),
      },
      name(query),
    );
    const presence = h("span", { class: "presence" });
    const remove = iconButton("remove", `Remove ${query}`, () => actions.removeLane(query), {
      class: "bare eye",
    });
    const slider = h("input", {
      type: "range",
      min: 0,
      max: 1,
      step: 0.01,
      "aria-label": `Threshold of ${query}`,
      title: "Open moments with a lower score are not shown",
      oninput: (event) => actions.setThreshold(query, Number(event.target.value)),
      onchange: () => this.store.endRun(),
    });
    const value = h("output", { class: "value" });
    const checked = toggle(
      "Checked",
      `Checked: I have looked through the whole video for ${query}`,
      () => actions.setChecked(query, checked.getAttribute("aria-pressed") !== "true"),
    );
    const absent = toggle("Does not occur", `${query} does not occur in this video`, () =>
      actions.setOccurs(query, absent.getAttribute("aria-pressed") === "true" ? null : false),
    );
    const head = h(
      "div",
      { class: "head", role: "group", "aria-label": `Lane ${query}`, colour },
      h("div", { class: "first" }, eye, title, presence, remove),
      h("div", { class: "second" }, slider, value, checked, absent),
    );
    return { head, eye, title, presence, slider, value, checked, absent, colour };
  }

  #answerHead() {
    const close = iconButton("reject", "Close the answer", () => this.view.set({ answer: null }), {
      class: "bare eye",
    });
    const { question, moments } = this.answer;
    const words = h("span", { class: "lane-name" }, name(question));
    const count = h("span", { class: "presence", text: `${moments.length} found` });
    return h(
      "div",
      { class: "head answer", role: "group", "aria-label": "Answer", colour: ANSWER_COLOUR },
      h("div", { class: "first" }, close, words, count),
    );
  }

  #update({ query, shown, below }) {
    const parts = this.#heads.get(query.query);
    const isHidden = this.view.hidden.has(query.query);
    const { head, eye, title, presence, slider, value, checked, absent } = parts;
    head.classList.toggle("closed", isHidden);
    head.classList.toggle("current", this.actions.lane() === query.query);
    title.setAttribute("aria-pressed", this.actions.lane() === query.query);
    title.title = `New moments go to ${query.query}`;
    setIcon(eye, isHidden ? "hidden" : "shown", `${isHidden ? "Show" : "Hide"} ${query.query}`);
    const [words, kind] = answerOf(query, shown.length + below > 0);
    if (presence.textContent !== words) presence.textContent = words;
    presence.className = `presence ${kind}`;
    presence.title = query.why ? whyHere(query.why) : PRESENCE_TITLE;
    if (document.activeElement !== slider || Number(slider.value) !== query.threshold) {
      slider.value = query.threshold;
    }
    value.textContent = score(query.threshold);
    value.title = `${shown.length} shown, ${below} below`;
    slider.setAttribute(
      "aria-valuetext",
      `${score(query.threshold)}: ${shown.length} shown, ${below} below`,
    );
    checked.setAttribute("aria-pressed", query.checked);
    absent.setAttribute("aria-pressed", query.occurs === false);
  }

  /** Tells the timeline where each lane is. */
  #layOut() {
    const lanes = new Map(lanesOf(this.store.doc).map((lane) => [lane.query.query, lane]));
    const rows = [...this.#heads].map(([query, { head, colour }]) => {
      const isOpen = !this.view.hidden.has(query);
      return { query, lane: lanes.get(query), colour, isOpen, ...placeOf(head) };
    });
    if (this.answer)
      rows.push({ ...answerRow(this.answer), ...placeOf(this.box.firstElementChild) });
    this.timeline.rows = rows.filter(({ lane, answer }) => lane || answer);
    this.timeline.invalidate();
  }
}

function placeOf(head) {
  return { y: head.offsetTop, height: head.offsetHeight };
}

/** The answer to a question as a lane that cannot be edited. */
function answerRow({ question, moments }) {
  const shown = moments.map((moment, i) => ({ ...moment, id: `answer ${i}`, status: "open" }));
  shown.sort((a, b) => a.start_s - b.start_s);
  const answer = { shown, ends: largestSoFar(shown.map(({ end_s }) => end_s)) };
  return { query: question, lane: null, answer, colour: ANSWER_COLOUR, isOpen: true };
}

function toggle(text, label, onclick) {
  return h("button", {
    type: "button",
    class: "toggle",
    text,
    title: label,
    "aria-label": label,
    onclick,
  });
}

/** What is said of a query, with how sure it is that it occurs, and which kind of word it is. */
function answerOf({ presence, occurs, why, made_by: maker }, hasMoments) {
  if (occurs === false) return ["does not occur", "absent"];
  if (why) return ["not understood", "absent"];
  if (presence === null || presence === undefined) return ["", ""];
  const { min_presence: least, sure } = { ...USUAL, ...maker?.method.settings };
  const said = score(presence);
  if (presence < least || !hasMoments) return [`not found ${said}`, "absent"];
  return presence < Math.max(least, sure) ? [`unsure ${said}`, "unsure"] : [`found ${said}`, "present"];
}
