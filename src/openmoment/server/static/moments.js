// The list of moments: what the timeline shows, as a table of real buttons, a page at a time.

import { thumbnailUrl } from "./api.js";
import { byId, h, iconButton, name } from "./dom.js";
import { clock, colourOf, counted, score } from "./format.js";
import { ACCEPTED, lanesOf, REJECTED } from "./state.js";
import { RowPictures } from "./thumbs.js";

const PAGE = 50;
const PICTURE_HEIGHT = 48;

export class Moments {
  #page = 0;
  #isDirty = false;
  #shown = null; // what the table was last made of

  constructor({ store, view, actions }) {
    Object.assign(this, { store, view, actions });
    this.box = byId("rows");
    this.pager = byId("pager");
    this.filters = { query: byId("filter-query"), state: byId("filter-state"), sort: byId("sort") };
    this.pictures = new RowPictures();
    for (const field of Object.values(this.filters)) {
      field.addEventListener("change", () => {
        this.#page = 0;
        this.render();
      });
    }
    for (const source of [store, view]) source.addEventListener("change", () => this.#soon());
  }

  open() {
    this.#page = 0;
    this.#shown = null;
    this.filters.query.value = "";
    this.filters.state.value = "";
  }

  /** However many edits a frame brings, the table is made once. */
  #soon() {
    if (this.#isDirty) return;
    this.#isDirty = true;
    requestAnimationFrame(() => {
      this.#isDirty = false;
      this.render();
    });
  }

  render() {
    this.#fillQueries();
    const { doc } = this.store;
    const { query, state, sort } = this.filters;
    const made = [doc, this.view.hidden, query.value, state.value, sort.value, this.#page];
    const isSame = this.#shown && made.every((part, i) => part === this.#shown[i]);
    const chosen = this.view.selected;
    const isNew = chosen !== this.selected;
    this.selected = chosen;
    const list = isSame ? this.list : this.#listed();
    this.list = list;
    const wasHere = !isSame && this.#rowOf(chosen) !== null;
    const at = isNew || wasHere ? list.findIndex(({ segment }) => segment.id === chosen) : -1;
    const page = at >= 0 ? Math.floor(at / PAGE) : Math.min(this.#page, lastPage(list));
    if (!isSame || page !== this.#page) {
      this.#page = page;
      this.#shown = [...made.slice(0, -1), page];
      this.#build(list);
    }
    this.#select(isNew || wasHere);
  }

  #listed() {
    const { query, state, sort } = this.filters;
    const lanes = lanesOf(this.store.doc).map((lane, i) => ({ ...lane, colour: colourOf(i) }));
    const open = lanes.filter(
      (lane) =>
        !this.view.hidden.has(lane.query.query) &&
        (!query.value || query.value === lane.query.query),
    );
    this.below = open.reduce((total, lane) => total + lane.below, 0);
    const list = open.flatMap(({ shown, colour }) => shown.map((segment) => ({ segment, colour })));
    const kept = state.value ? list.filter(({ segment }) => segment.status === state.value) : list;
    const byTime = (a, b) =>
      a.segment.start_s - b.segment.start_s || a.segment.end_s - b.segment.end_s;
    const byScore = (a, b) => (b.segment.score ?? 1) - (a.segment.score ?? 1) || byTime(a, b);
    return kept.sort(sort.value === "score" ? byScore : byTime);
  }

  #fillQueries() {
    const names = this.store.doc.queries.map(({ query }) => query);
    if (this.names?.length === names.length && names.every((one, i) => one === this.names[i]))
      return;
    this.names = names;
    const field = this.filters.query;
    const before = field.value;
    const options = names.map((query) => h("option", { value: query, text: query }));
    field.replaceChildren(h("option", { value: "", text: "All queries" }), ...options);
    field.value = names.includes(before) ? before : "";
  }

  #build(list) {
    const focused = this.#focused();
    this.pictures.clear();
    const page = list.slice(this.#page * PAGE, (this.#page + 1) * PAGE);
    if (page.length) this.box.replaceChildren(this.#table(page));
    else this.box.replaceChildren(this.#nothing());
    this.#pages(list);
    if (focused) this.#focus(focused);
  }

  #table(page) {
    const heads = ["Picture", "Moment", "Score", "Mark"].map((text) =>
      h("th", { scope: "col", text }),
    );
    return h(
      "table",
      { class: "moments" },
      h("caption", { class: "sr", text: "Moments" }),
      h(
        "colgroup",
        {},
        heads.map(() => h("col")),
      ),
      h("thead", { class: "sr" }, h("tr", {}, heads)),
      h(
        "tbody",
        {},
        page.map((item) => this.#row(item)),
      ),
    );
  }

  #row({ segment, colour }) {
    const { id, query, start_s: start, end_s: end, status } = segment;
    const picture = h("img", { alt: "", width: 64, height: 36, decoding: "async" });
    this.pictures.watch(
      picture,
      thumbnailUrl(this.store.video.id, (start + end) / 2, PICTURE_HEIGHT),
    );
    const main = h(
      "button",
      {
        type: "button",
        class: "moment",
        "data-do": "play",
        title: `Play, ${status}`,
        onclick: () => this.actions.choose(id),
      },
      h("span", { class: "dot" }),
      name(query),
      h(
        "span",
        { class: "times", text: `${clock(start)} – ${clock(end)}` },
        h("span", { class: "length", text: ` · ${(end - start).toFixed(1)} s` }),
        h("span", { class: "sr", text: `, ${status}` }),
      ),
    );
    const row = h(
      "tr",
      { "data-id": id, class: status, colour },
      h("td", { class: "picture" }, picture),
      h("td", { class: "what" }, main),
      h("td", { class: "score" }, score(segment.score)),
      h("td", { class: "mark" }, this.#mark("accept", segment), this.#mark("reject", segment)),
    );
    row.addEventListener(
      "click",
      (event) => !event.target.closest("button") && this.actions.choose(id),
    );
    return row;
  }

  #mark(kind, { id, query, status, start_s: start }) {
    const isOn = status === { accept: ACCEPTED, reject: REJECTED }[kind];
    const label = `${kind === "accept" ? "Accept" : "Reject"} ${query} at ${clock(start)}`;
    return iconButton(kind, label, () => this.actions[kind](id), {
      class: `bare ${kind}`,
      "aria-pressed": isOn,
      "data-do": kind,
    });
  }

  #nothing() {
    const { doc } = this.store;
    const { query, state } = this.filters;
    if (!doc.queries.length) return note("Type what to find above: what is found is listed here.");
    if (query.value || state.value)
      return note("Nothing of that kind. Choose another query or state.");
    if (this.view.hidden.size)
      return note("Nothing in the lanes on view. Show the hidden ones again.");
    if (this.below) {
      return note(`${counted(this.below, "moment")} below the thresholds. Lower one to see more.`);
    }
    return note("No moments. Drag in a lane to add one, or find other words.");
  }

  #pages(list) {
    const from = this.#page * PAGE;
    const to = Math.min(list.length, from + PAGE);
    const below = this.below ? ` · ${this.below.toLocaleString("en")} below the thresholds` : "";
    const all =
      list.length > PAGE
        ? `${from + 1}–${to} of ${list.length.toLocaleString("en")}`
        : counted(list.length, "moment");
    const go = (by) => () => {
      this.#page += by;
      this.render();
      this.box.scrollTop = 0;
    };
    const turn = (text, label, by, disabled) =>
      h("button", {
        type: "button",
        class: "bare",
        text,
        disabled,
        "aria-label": label,
        title: label,
        onclick: go(by),
      });
    const turns =
      list.length > PAGE
        ? [turn("‹", "Page before", -1, !this.#page), turn("›", "Next page", 1, to >= list.length)]
        : [];
    this.pager.replaceChildren(h("span", { text: list.length ? all + below : "" }), ...turns);
  }

  #select(isToBeSeen) {
    for (const row of this.box.querySelectorAll("[aria-current]"))
      row.removeAttribute("aria-current");
    const row = this.#rowOf(this.selected);
    if (!row) return;
    row.setAttribute("aria-current", "true");
    if (!isToBeSeen) return;
    row.scrollIntoView({ block: "nearest" });
    if (this.box.contains(document.activeElement)) row.querySelector(".moment").focus();
  }

  #rowOf(id) {
    return id === null ? null : this.box.querySelector(`[data-id="${CSS.escape(id)}"]`);
  }

  #focused() {
    const row = document.activeElement?.closest("tr[data-id]");
    return row && this.box.contains(row)
      ? { id: row.dataset.id, kind: document.activeElement.dataset.do }
      : null;
  }

  #focus({ id, kind }) {
    const row =
      this.#rowOf(id) ?? this.#rowOf(this.view.selected) ?? this.box.querySelector("tr[data-id]");
    row?.querySelector(`[data-do="${kind}"]`)?.focus();
  }
}

function lastPage(list) {
  return Math.max(0, Math.ceil(list.length / PAGE) - 1);
}

function note(text) {
  return h("p", { class: "note", text });
}
