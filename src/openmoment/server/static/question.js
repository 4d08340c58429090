// Questions over the moments on view: the field, where an error is, and the answer.

import { api } from "./api.js";
import { byId, h } from "./dom.js";
import { clock, counted } from "./format.js";
import { complain, say } from "./notices.js";

export class Question {
  constructor({ store, view, actions }) {
    Object.assign(this, { store, view, actions });
    this.field = byId("ask-field");
    this.error = byId("ask-error");
    this.answer = byId("answer");
    byId("ask").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#ask();
    });
    this.field.addEventListener("input", () => this.#clear());
    store.addEventListener("change", () => this.#examples());
    view.addEventListener("change", () => this.#show());
  }

  open() {
    this.field.value = "";
    this.#clear();
  }

  async #ask() {
    const question = this.field.value;
    this.#clear();
    try {
      if (!this.store.isSaved) await this.store.save();
      const { moments } = await api.ask(this.store.video.id, question);
      this.view.set({ answer: { question, moments } });
      say(`${counted(moments.length, "moment")} found`);
    } catch (failure) {
      if (failure.position === null && failure.status !== 422) complain(failure);
      else this.#point(question, failure);
    }
  }

  #clear() {
    this.error.hidden = true;
    this.field.removeAttribute("aria-invalid");
  }

  /** The question with a caret under the character where it cannot be read. */
  #point(question, { message, position }) {
    const lines = position === null ? [message] : [...excerpt(question, position), message];
    this.error.textContent = lines.join("\n");
    this.error.hidden = false;
    this.field.setAttribute("aria-invalid", "true");
    this.field.focus();
    if (position === null) return;
    const at = [...question].slice(0, position).join("").length; // it counts whole characters
    this.field.setSelectionRange(at, at);
  }

  #show() {
    const { answer } = this.view;
    if (answer === this.shown) return;
    this.shown = answer;
    if (!answer) return this.answer.replaceChildren();
    const { moments } = answer;
    const rows = moments.slice(0, 200).map((moment) =>
      h(
        "li",
        {},
        h(
          "button",
          {
            type: "button",
            class: "moment",
            onclick: () => this.actions.playAnswer(moment),
          },
          h("span", { class: "dot" }),
          h("span", { class: "times", text: `${clock(moment.start_s)} – ${clock(moment.end_s)}` }),
        ),
      ),
    );
    const title = moments.length
      ? counted(moments.length, "moment")
      : "Nothing fits. Lower a threshold, or allow more time between.";
    return this.answer.replaceChildren(h("p", { class: "note", text: title }), h("ol", {}, rows));
  }

  /** Questions that could be asked of the queries there are. */
  #examples() {
    const names = this.store.doc.queries.map(({ query }) => query);
    if (names.join("\n") === this.names) return;
    this.names = names.join("\n");
    const box = byId("ask-examples");
    if (!names.length) {
      box.replaceChildren(
        h("p", {
          class: "note",
          text: "Find something first; then ask how moments follow each other.",
        }),
      );
      return;
    }
    const [a, b] = names.map((one) => `"${one.replaceAll('"', "")}"`);
    const asked = b ? [`${a} then ${b} within 10 s`, `${a} and ${b}`, `not ${a}`] : [`not ${a}`];
    const buttons = asked.map((question) =>
      h("button", {
        type: "button",
        class: "link",
        dir: "auto",
        text: question,
        onclick: () => {
          this.field.value = question;
          this.#clear();
          this.field.focus();
        },
      }),
    );
    box.replaceChildren(h("p", { class: "note", text: "For example:" }), ...buttons);
  }
}

/** The part of a long question around a place, and a caret under that place. */
function excerpt(question, position) {
  const characters = [...question.replace(/\s/g, " ")];
  const from = Math.max(0, position - 30);
  const shown = characters.slice(from, from + 50).join("");
  const lead = from ? "…" : "";
  return [lead + shown, `${" ".repeat(position - from + lead.length)}^`];
}
