// The field of queries, and what they are looked for with.

import { api, who } from "./api.js";
import { byId, h, icon, name } from "./dom.js";
import { complain, say } from "./notices.js";
import { popup } from "./popup.js";

const KEPT = { backbone: "openmoment.backbone", method: "openmoment.method" };
const WEAK = "auto";

export class Find {
  queries = [];

  constructor({ store, actions, jobs }) {
    Object.assign(this, { store, actions, jobs });
    this.field = byId("find-field");
    this.chips = byId("chips");
    this.popup = popup(byId("options"), byId("options-list"));
    this.field.addEventListener("keydown", (event) => this.#key(event));
    this.field.addEventListener("paste", (event) => this.#paste(event));
    this.chips.addEventListener(
      "click",
      (event) => event.target === this.chips && this.field.focus(),
    );
    byId("find").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#find();
    });
    byId("who").value = who.get();
    byId("who").addEventListener("change", () => who.set(byId("who").value));
    byId("add-lane").addEventListener("click", () => this.#addLanes());
  }

  open() {
    this.queries = [];
    this.field.value = "";
    this.#render();
  }

  focus() {
    this.field.focus();
    this.field.select();
  }

  /** Fills the choice of backbone and method. */
  async load() {
    const [backbones, methods] = await Promise.all([api.backbones(), api.methods()]);
    this.#choices("backbone", backbones);
    this.#choices("method", methods);
  }

  #choices(kind, answer) {
    const items = Array.isArray(answer) ? answer : (answer[`${kind}s`] ?? []);
    const field = byId(kind);
    field.replaceChildren(
      ...items.map((item) =>
        h("option", {
          value: item.name,
          text: item.ready ? item.name : `${item.name} (not ready)`,
          disabled: !item.ready,
        }),
      ),
    );
    const kept = localStorage.getItem(KEPT[kind]);
    const usual = items.find((item) => item.default)?.name;
    field.value = items.some((item) => item.name === kept && item.ready)
      ? kept
      : (usual ?? items[0]?.name ?? "");
    const tell = () => {
      const item = items.find((one) => one.name === field.value);
      byId(`${kind}-note`).textContent = item?.about ?? "";
      if (kind === "backbone") tellBackbone(item);
    };
    field.addEventListener("change", () => {
      localStorage.setItem(KEPT[kind], field.value);
      tell();
    });
    tell();
  }

  #key(event) {
    if (event.isComposing) return;
    if (event.key === "Enter" && this.field.value.trim()) {
      event.preventDefault();
      this.#take();
    }
    if (event.key === "Backspace" && !this.field.value && this.queries.length) {
      this.queries.pop();
      this.#render();
    }
  }

  /** Several lines are several queries. */
  #paste(event) {
    const lines = event.clipboardData
      .getData("text")
      .split(/\r?\n/)
      .filter((line) => line.trim());
    if (lines.length < 2) return;
    event.preventDefault();
    for (const line of lines) this.#add(line);
    this.#render();
  }

  #take() {
    this.#add(this.field.value);
    this.field.value = "";
    this.#render();
  }

  #add(text) {
    const query = text.trim().replace(/\s+/g, " ");
    if (query && !this.queries.includes(query)) this.queries.push(query);
  }

  #render() {
    for (const chip of this.chips.querySelectorAll(".chip")) chip.remove();
    this.field.before(...this.queries.map((query) => this.#chip(query)));
    this.field.placeholder = this.queries.length
      ? "another, or Find"
      : "What happens? Type a few words, Enter adds";
  }

  #chip(query) {
    const drop = h(
      "button",
      {
        type: "button",
        "aria-label": `Remove ${query}`,
        title: "Remove",
        onclick: () => {
          this.queries = this.queries.filter((one) => one !== query);
          this.#render();
          this.field.focus();
        },
      },
      icon("reject"),
    );
    return h("span", { class: "chip" }, name(query), drop);
  }

  async #find() {
    this.#take();
    if (!this.queries.length) {
      say("Type what to find first");
      this.field.focus();
      return;
    }
    const [backbone, method] = [byId("backbone").value || WEAK, byId("method").value || null];
    const queries = this.queries;
    try {
      await this.store.save();
      this.jobs.take(await api.find({ video: this.store.video.id, queries, backbone, method }));
      this.queries = [];
      this.#render();
      say(`Looking for ${queries.map((query) => `“${query}”`).join(", ")}`);
    } catch (failure) {
      complain(failure);
    }
  }

  #addLanes() {
    this.#take();
    this.popup.close();
    if (!this.queries.length) say("Type the words of the lane first");
    for (const query of this.queries) this.actions.addLane(query);
    this.queries = [];
    this.#render();
    this.field.focus();
  }
}

/** What sees the video stands in sight: some backbones know far less than one would think. */
function tellBackbone(item) {
  byId("options-name").textContent = item ? `With ${item.name}` : "Options";
  byId("backbone-line").textContent = item ? `${item.name}: ${item.about}` : "";
}
