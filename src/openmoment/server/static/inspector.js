// The selected moment in figures: its times, its query, and what can be done to it.

import { byId, h, iconButton } from "./dom.js";
import { clock, parseClock } from "./format.js";
import { say } from "./notices.js";
import { ACCEPTED, REJECTED, segmentOf } from "./state.js";

export class Inspector {
  constructor({ store, view, actions }) {
    Object.assign(this, { store, view, actions });
    this.box = byId("inspector");
    this.#build();
    for (const source of [store, view]) source.addEventListener("change", () => this.render());
  }

  /** To the field that relabels. */
  relabel() {
    if (segmentOf(this.store.doc, this.view.selected)) this.query.focus();
    else say("Select a moment first");
  }

  render() {
    const segment = segmentOf(this.store.doc, this.view.selected);
    this.hint.hidden = Boolean(segment);
    this.form.hidden = !segment;
    if (!segment) return;
    const names = this.store.doc.queries.map(({ query }) => query);
    if (names.join("\n") !== this.names) {
      this.names = names.join("\n");
      this.query.replaceChildren(
        ...names.map((query) => h("option", { value: query, text: query })),
      );
    }
    this.query.value = segment.query;
    this.#fill(this.start, clock(segment.start_s, 2));
    this.#fill(this.end, clock(segment.end_s, 2));
    this.accept.setAttribute("aria-pressed", segment.status === ACCEPTED);
    this.reject.setAttribute("aria-pressed", segment.status === REJECTED);
  }

  #fill(field, text) {
    if (document.activeElement !== field || field.dataset.id !== this.view.selected)
      field.value = text;
    field.dataset.id = this.view.selected;
  }

  #build() {
    const { actions } = this;
    this.hint = h("p", {
      class: "note",
      text: "Select a moment to change its times, query or mark.",
    });
    this.query = h("select", {
      "aria-label": "Query of the moment",
      onchange: () => actions.relabel(this.view.selected, this.query.value),
    });
    this.start = this.#time("Start");
    this.end = this.#time("End");
    const pressed = { "aria-pressed": "false" };
    this.accept = iconButton("accept", "Accept", () => actions.accept(), {
      key: "Y",
      text: "Accept",
      class: "accept",
      ...pressed,
    });
    this.reject = iconButton("reject", "Reject", () => actions.reject(), {
      key: "N",
      text: "Reject",
      class: "reject",
      ...pressed,
    });
    const remove = iconButton("remove", "Delete the moment", () => actions.remove(), {
      key: "Delete",
      class: "bare",
    });
    const play = iconButton("play", "Play the moment", () => actions.playSelected(), {
      key: "Shift+Space",
      class: "bare",
    });
    this.form = h(
      "div",
      { class: "selected", role: "group", "aria-label": "Selected moment", hidden: true },
      h("div", { class: "line" }, this.query, play, remove),
      h(
        "div",
        { class: "line" },
        this.start,
        h("span", { text: "–", "aria-hidden": "true" }),
        this.end,
        this.accept,
        this.reject,
      ),
    );
    this.box.append(this.hint, this.form);
  }

  #time(label) {
    const field = h("input", {
      type: "text",
      class: "time",
      "aria-label": `${label} of the moment`,
      inputmode: "decimal",
      onchange: () => this.#typed(field),
      onkeydown: (event) => event.key === "Enter" && this.#typed(field),
    });
    return field;
  }

  /** Times that a person typed; what is no time is put back. */
  #typed(field) {
    const segment = segmentOf(this.store.doc, this.view.selected);
    if (!segment) return;
    const [start, end] = [this.start, this.end].map((one) => parseClock(one.value));
    if (Number.isNaN(start) || Number.isNaN(end)) {
      say("A time is seconds, m:ss.d or h:mm:ss.d");
      field.value = clock(field === this.start ? segment.start_s : segment.end_s, 2);
      return;
    }
    const isSame =
      Math.abs(start - segment.start_s) < 0.005 && Math.abs(end - segment.end_s) < 0.005;
    if (!isSame) this.actions.move(segment.id, start, end);
  }
}
