// What a person can do to moments, by whatever means; each says what it did.

import { clock } from "./format.js";
import { say } from "./notices.js";
import * as state from "./state.js";

const { ACCEPTED, OPEN, REJECTED } = state;

export class Actions {
  constructor({ store, view, player, timeline }) {
    Object.assign(this, { store, view, player, timeline });
  }

  /** Selects a moment, brings it on view and, unless told otherwise, plays it. */
  choose(id, { play = true } = {}) {
    const segment = state.segmentOf(this.store.doc, id);
    if (!segment) return;
    this.view.set({ selected: id, lane: segment.query });
    this.timeline.reveal(segment.start_s, segment.end_s);
    if (play) this.player.playStretch(segment.start_s, segment.end_s);
  }

  playAnswer(moment) {
    this.timeline.reveal(moment.start_s, moment.end_s);
    this.player.playStretch(moment.start_s, moment.end_s);
  }

  playSelected() {
    const segment = this.#selected();
    if (segment) this.player.playStretch(segment.start_s, segment.end_s);
  }

  /** The moment after (1) or before (-1) the selected one, or the playhead; false at the end. */
  go(direction, options) {
    const order = this.#inOrder();
    const at = order.findIndex((segment) => segment.id === this.view.selected);
    const next = at >= 0 ? order[at + direction] : this.#nearest(order, direction);
    if (next) this.choose(next.id, options);
    return Boolean(next);
  }

  #nearest(order, direction) {
    const { now } = this.player;
    if (direction > 0) return order.find((segment) => segment.start_s >= now - 1e-3) ?? order[0];
    return order.findLast((segment) => segment.start_s < now) ?? order.at(-1);
  }

  #inOrder() {
    const lanes = state
      .lanesOf(this.store.doc)
      .filter(({ query }) => !this.view.hidden.has(query.query));
    const all = lanes.flatMap((lane) => lane.shown);
    return all.sort((a, b) => a.start_s - b.start_s || a.end_s - b.end_s);
  }

  #selected() {
    const segment = state.segmentOf(this.store.doc, this.view.selected);
    if (!segment) say("Select a moment first");
    return segment;
  }

  accept(id = this.view.selected) {
    this.#mark(id, ACCEPTED, "Accepted");
  }

  reject(id = this.view.selected) {
    this.#mark(id, REJECTED, "Rejected");
  }

  /** Gives a mark; given again, it takes the mark back. */
  #mark(id, status, done) {
    const segment = state.segmentOf(this.store.doc, id) ?? this.#selected();
    if (!segment) return;
    const isBack = segment.status === status;
    this.store.edit(state.setStatus(this.store.doc, segment.id, isBack ? OPEN : status), "mark");
    this.#say(isBack ? "Open again" : done, segment);
  }

  move(id, start, end) {
    const { doc, duration } = this.store;
    this.store.edit(state.move(doc, id, start, end, duration), "move");
    this.#say("Moved", state.segmentOf(this.store.doc, id));
  }

  /** The selected moment begins, or ends, at the playhead. */
  setEdge(edge) {
    const segment = this.#selected();
    if (!segment) return;
    const { now } = this.player;
    const isOutside = edge === "start" ? now >= segment.end_s : now <= segment.start_s;
    if (isOutside) {
      say(edge === "start" ? "The playhead is after its end" : "The playhead is before its start");
      return;
    }
    if (edge === "start") this.move(segment.id, now, segment.end_s);
    else this.move(segment.id, segment.start_s, now);
  }

  relabel(id, query) {
    this.store.edit(state.relabel(this.store.doc, id, query), "relabel");
    this.view.set({ lane: query });
    this.#say("Relabelled", state.segmentOf(this.store.doc, id));
  }

  split() {
    const segment = this.#selected();
    if (!segment) return;
    const doc = state.split(this.store.doc, segment.id, this.player.now, newId());
    if (!doc) {
      say("Put the playhead inside the selected moment to split it");
      return;
    }
    this.store.edit(doc, "split");
    this.#say("Split", segment);
  }

  merge() {
    const segment = this.#selected();
    if (!segment) return;
    const next = state.following(this.store.doc, segment.id);
    if (!next) {
      say("No later moment of this query to merge with");
      return;
    }
    this.store.edit(state.merge(this.store.doc, segment.id, next.id), "merge");
    this.#say("Merged", state.segmentOf(this.store.doc, segment.id));
  }

  remove(id = this.view.selected) {
    const segment = state.segmentOf(this.store.doc, id) ?? this.#selected();
    if (!segment) return;
    const order = this.#inOrder();
    const at = order.findIndex((one) => one.id === segment.id);
    const next = order[at + 1] ?? order[at - 1] ?? null;
    this.store.edit(state.remove(this.store.doc, segment.id), "delete");
    if (this.view.selected === segment.id) this.view.set({ selected: next?.id ?? null });
    this.#say("Deleted", segment);
  }

  setPoint(which) {
    const { now } = this.player;
    const points = { in: this.view.in, out: this.view.out, [which]: now };
    if (points.in !== null && points.out !== null && points.in > points.out) {
      points[which === "in" ? "out" : "in"] = null;
    }
    this.view.set(points);
    say(`${which === "in" ? "In" : "Out"} point at ${clock(now, 2)}`);
  }

  /** A moment from the in to the out point (or the playhead), in the chosen lane. */
  addFromPoints() {
    const start = this.view.in;
    const end = this.view.out ?? this.player.now;
    const query = this.lane();
    if (query === null) say("Add a query first: type words above");
    else if (start === null || end <= start) say("Set an in point (I), then an out point (O)");
    else {
      this.add(query, start, end);
      this.view.set({ in: null, out: null });
    }
  }

  add(query, start, end) {
    const { doc, duration } = this.store;
    const id = newId();
    this.store.edit(state.add(doc, { id, query, start, end, duration }), "add");
    this.view.set({ selected: id, lane: query });
    this.#say("Added", state.segmentOf(this.store.doc, id));
  }

  /** The lane that new moments go to: the one chosen last, else the first on view. */
  lane() {
    const { queries } = this.store.doc;
    const chosen = state.queryOf(this.store.doc, this.view.lane);
    const first = queries.find(({ query }) => !this.view.hidden.has(query));
    return (chosen ?? first)?.query ?? null;
  }

  chooseLane(index) {
    const query = this.store.doc.queries[index]?.query;
    if (!query) return;
    this.view.set({ lane: query });
    say(`New moments go to “${query}”`);
  }

  setThreshold(query, threshold) {
    this.store.edit(
      state.mark(this.store.doc, query, { threshold }),
      "threshold",
      `threshold ${query}`,
    );
  }

  setChecked(query, checked) {
    this.store.edit(state.mark(this.store.doc, query, { checked }), "mark");
    say(checked ? `Checked through for “${query}”` : `Not checked through for “${query}”`);
  }

  setOccurs(query, occurs) {
    this.store.edit(state.mark(this.store.doc, query, { occurs }), "mark");
    say(occurs === false ? `“${query}” does not occur` : `“${query}” may occur`);
  }

  addLane(query) {
    if (state.queryOf(this.store.doc, query)) return;
    this.store.edit(state.addQuery(this.store.doc, query), "lane");
    this.view.set({ lane: query });
    say(`Lane “${query}” added: drag in it to add a moment`);
  }

  removeLane(query) {
    const { doc } = this.store;
    const lane = state.lanesOf(doc).find((one) => one.query.query === query);
    this.store.edit(state.removeQuery(doc, query), "remove lane");
    this.#dropSelection();
    const count = lane.shown.length === 1 ? "1 moment" : `${lane.shown.length} moments`;
    say(`Lane “${query}” removed with ${count}: undo brings it back`);
  }

  undo() {
    const what = this.store.undo();
    say(what ? `Undone: ${what}` : "Nothing to undo");
    this.#dropSelection();
  }

  redo() {
    const what = this.store.redo();
    say(what ? `Done again: ${what}` : "Nothing to redo");
    this.#dropSelection();
  }

  #dropSelection() {
    if (!state.segmentOf(this.store.doc, this.view.selected)) this.view.set({ selected: null });
  }

  #say(done, { query, start_s, end_s }) {
    say(`${done}: ${query}, ${clock(start_s, 2)} to ${clock(end_s, 2)}`);
  }
}

function newId() {
  const parts = crypto.getRandomValues(new Uint8Array(4));
  return [...parts].map((part) => part.toString(16).padStart(2, "0")).join("");
}
