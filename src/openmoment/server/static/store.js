// The open video's review: its history, and keeping it on the server.

import { api } from "./api.js";
import { debounced } from "./dom.js";
import { documentOf, edited, historyOf, rebase, redone, same, undone } from "./state.js";

const QUIET_MS = 600; // between the last edit and saving
const RETRY_MS = 4000; // after a failed attempt

/** Events: "change" (the document), "saving" (the state of saving), "conflict", "trouble". */
export class Store extends EventTarget {
  video = null;
  revision = 0;
  saving = "saved"; // or "unsaved", "sending", "failed"
  #history = historyOf({ queries: [], segments: [] });
  #base = this.#history.present; // what the server has
  #latest = 0; // the newest revision that the server told of
  #save = debounced(() => this.save(), QUIET_MS);
  #retry = debounced(() => this.save(), RETRY_MS);

  get doc() {
    return this.#history.present;
  }

  get duration() {
    return this.video?.duration_s ?? 0;
  }

  get canUndo() {
    return this.#history.past.length > 0;
  }

  get canRedo() {
    return this.#history.future.length > 0;
  }

  get isSaved() {
    return same(this.#base, this.doc);
  }

  open(video, review) {
    this.video = video;
    this.revision = review.revision;
    this.#latest = review.revision;
    this.#base = documentOf(review);
    this.#history = historyOf(this.#base);
    this.#tell("saved");
    this.dispatchEvent(new Event("change"));
  }

  /** One step; `what` names it for undo. Nothing happens where the document stays the same. */
  edit(doc, what, key = null) {
    if (same(doc, this.doc)) return;
    this.#set(edited(this.#history, doc, what, key));
  }

  /** Ends a run of edits that are undone as one. */
  endRun() {
    this.#history = { ...this.#history, key: null };
  }

  /** What was undone, or null. */
  undo() {
    return this.#step(undone(this.#history));
  }

  redo() {
    return this.#step(redone(this.#history));
  }

  /** A newer document of the server: what I did since goes on top, in every step of undo too. */
  receive(review) {
    if (review.revision <= this.revision) return;
    const theirs = documentOf(review);
    const base = this.#base;
    const moved = (step) => ({ ...step, doc: rebase(base, step.doc, theirs) });
    this.#history = {
      past: this.#history.past.map(moved),
      present: rebase(base, this.doc, theirs),
      future: this.#history.future.map(moved),
      key: null,
    };
    this.#base = theirs;
    this.revision = review.revision;
    this.dispatchEvent(new Event("change"));
    if (this.isSaved) this.#tell("saved");
    else this.#later();
  }

  /** The server has that revision now: fetched, unless it is the one that is being saved. */
  notice(revision) {
    this.#latest = Math.max(this.#latest, revision);
    const isNew = this.#latest > this.revision && this.saving !== "sending";
    return isNew ? this.reload() : Promise.resolve();
  }

  async reload() {
    const id = this.video.id;
    const review = await api.review(id);
    if (this.video?.id === id) this.receive(review);
  }

  /** Sends what is not saved yet; true once the server has all of it. */
  async save() {
    if (this.saving === "sending") return false;
    if (!this.video || this.isSaved) {
      this.#tell("saved");
      return true;
    }
    const [video, sent] = [this.video, this.doc];
    this.#tell("sending");
    try {
      const review = await api.saveReview(video.id, { revision: this.revision, ...sent });
      if (this.video !== video) return true;
      this.#accept(review, sent);
    } catch (failure) {
      await this.#failed(failure, video);
      return false;
    }
    return this.isSaved;
  }

  #accept(review, sent) {
    this.saving = "unsaved";
    this.#base = sent;
    if (same(documentOf(review), sent)) this.revision = review.revision;
    else this.receive(review);
    if (this.isSaved) this.#tell("saved");
    else this.#later();
    this.notice(this.#latest).catch(() => {});
  }

  async #failed(failure, video) {
    this.#tell("failed");
    if (failure.status !== 409) {
      this.dispatchEvent(new CustomEvent("trouble", { detail: failure }));
      if (failure.status === 0 || failure.status >= 500) this.#retry();
      return;
    }
    await this.reload().catch(() => this.#retry());
    if (this.video === video) this.dispatchEvent(new Event("conflict"));
  }

  #step(history) {
    if (!history) return null;
    this.#set(history);
    return history.what;
  }

  #set(history) {
    this.#history = history;
    this.dispatchEvent(new Event("change"));
    this.#later();
  }

  #later() {
    if (this.saving !== "sending") this.#tell("unsaved");
    this.#save();
  }

  #tell(state) {
    this.saving = state;
    this.dispatchEvent(new Event("saving"));
  }
}
