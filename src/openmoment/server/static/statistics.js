// Counts, time budget and transitions of what is shown and not rejected, as the server has them.

import { api } from "./api.js";
import { byId, h, name } from "./dom.js";
import { clock, colourOf } from "./format.js";

export class Statistics {
  #asked = null; // the document that the figures are of

  constructor({ store }) {
    this.store = store;
    this.box = byId("statistics");
    store.addEventListener("saving", () => {
      if (!this.box.hidden && store.saving === "saved") this.load();
    });
  }

  open() {
    this.#asked = null;
    this.box.replaceChildren();
  }

  async load() {
    const { store } = this;
    const { doc, video } = store;
    if (!doc.queries.length) return this.#say("No figures yet. Find something first.");
    if (doc === this.#asked) return undefined;
    if (!store.isSaved) await store.save();
    this.#asked = store.doc;
    try {
      const figures = await api.statistics(video.id);
      if (store.video === video) this.#show(figures);
    } catch (failure) {
      this.#asked = null;
      this.#say(failure.message);
    }
    return undefined;
  }

  #say(text) {
    this.box.replaceChildren(h("p", { class: "note", text }));
  }

  #show({ queries, share_none: none, transitions }) {
    const colours = queries.map(({ query }) => this.#colourOf(query));
    this.box.replaceChildren(
      h("p", {
        class: "note",
        text: "Of the moments shown and not rejected; overlapping ones of a query count as one.",
      }),
      budget(queries, colours, none),
      counts(queries, colours),
      followed(queries, transitions.counts),
    );
  }

  #colourOf(query) {
    return colourOf(
      Math.max(
        0,
        this.store.doc.queries.findIndex((one) => one.query === query),
      ),
    );
  }
}

function percent(share) {
  return share === null ? "–" : `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`;
}

function seconds(value) {
  return value === null ? "–" : `${value.toFixed(1)} s`;
}

/** How much of the video each query takes, as bars. */
function budget(queries, colours, none) {
  const bar = (text, share, colour) => {
    const fill = h("span", { class: "fill", colour });
    fill.style.width = `${Math.min(1, share ?? 0) * 100}%`;
    return h(
      "li",
      {},
      h("span", { class: "of" }, text),
      h("span", { class: "track" }, fill),
      h("span", { class: "share", text: percent(share) }),
    );
  };
  const bars = queries.map((one, i) => bar(name(one.query), one.share, colours[i]));
  if (none !== null) bars.push(bar(h("em", { text: "none of them" }), none, "var(--edge)"));
  return h("div", {}, h("h2", { text: "Time budget" }), h("ul", { class: "budget" }, bars));
}

function counts(queries, colours) {
  const heads = ["Query", "Moments", "Total", "Mean", "Per hour", "First"];
  const rows = queries.map((one, i) =>
    h(
      "tr",
      { colour: colours[i] },
      h("th", { scope: "row" }, name(one.query)),
      h("td", { text: one.count }),
      h("td", { text: clock(one.total_s) }),
      h("td", { text: seconds(one.mean_s) }),
      h("td", { text: one.per_hour === null ? "–" : one.per_hour.toFixed(1) }),
      h("td", { text: one.latency_s === null ? "–" : clock(one.latency_s) }),
    ),
  );
  return table("Counts and lengths", heads, rows);
}

function followed(queries, numbers) {
  const heads = ["after", ...queries.map(({ query }) => query)];
  const rows = queries.map(({ query }, i) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, name(query)),
      numbers[i].map((count) => h("td", { text: count })),
    ),
  );
  return table("What follows what", heads, rows);
}

function table(title, heads, rows) {
  const cells = heads.map((text) => h("th", { scope: "col" }, name(text)));
  return h(
    "div",
    { class: "scroll", tabindex: 0, role: "group", "aria-label": title },
    h(
      "table",
      { class: "figures" },
      h("caption", { text: title }),
      h("thead", {}, h("tr", {}, cells)),
      h("tbody", {}, rows),
    ),
  );
}
