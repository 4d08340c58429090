// What covers the picture while the video cannot be played, and what to do about it.

import { api } from "./api.js";
import { byId, h } from "./dom.js";
import { complain } from "./notices.js";

export class Screen {
  constructor({ store, player, jobs, timeline }) {
    Object.assign(this, { store, player, jobs, timeline });
    this.cover = byId("cover");
    jobs.addEventListener("change", () => this.#follow());
    player.addEventListener("trouble", () => this.#cannotPlay());
    player.addEventListener("length", () => this.#length());
  }

  open(video) {
    this.video = video;
    this.cover.hidden = true;
    if (video.playable === "yes" && !video.error) return this.player.open(video);
    this.player.hold(video);
    if (video.error && video.playable === "no")
      return this.#say("This file cannot be read.", video.error);
    if (video.playable === "making") this.#say("A copy that plays here is being made.");
    else
      this.#offer(
        video.playable === "failed" ? `The copy could not be made: ${video.error}` : null,
      );
    return undefined;
  }

  #offer(failed) {
    const make = h("button", {
      type: "button",
      class: "strong",
      text: failed ? "Try again" : "Make a copy that plays",
      onclick: () => this.#make(),
    });
    const why =
      failed ??
      "This browser cannot play the file as it is. Finding and editing work all the same.";
    this.#say(why, null, make);
  }

  async #make() {
    this.#say("A copy that plays here is being made.");
    try {
      this.jobs.take(await api.makePlayable(this.video.id));
    } catch (failure) {
      complain(failure);
      this.#offer(failure.message);
    }
  }

  /** The job that makes the copy, as it goes. */
  async #follow() {
    const { video } = this;
    if (!video || this.store.video !== video || video.playable === "yes") return;
    const job = this.jobs.copying(video.id);
    if (job?.state === "failed" || job?.state === "cancelled")
      return this.#offer(job.error ?? "Cancelled.");
    if (job?.state !== "done" || this.isAsking) return;
    this.isAsking = true;
    const now = await api.video(video.id).catch(() => null);
    this.isAsking = false;
    if (now?.playable !== "yes" || this.store.video !== video) return;
    Object.assign(video, now, { duration_s: now.duration_s ?? video.duration_s });
    this.open(video);
  }

  #cannotPlay() {
    if (this.video)
      this.#say("This browser cannot play the file.", "Finding and editing work all the same.");
  }

  /** A length that the server did not know. */
  #length() {
    const { video, player, timeline } = this;
    if (!video || video.duration_s || !player.duration) return;
    video.duration_s = player.duration;
    timeline.viewport.fit(player.duration);
    timeline.moved();
  }

  #say(text, more = null, ...rest) {
    this.cover.hidden = false;
    this.cover.replaceChildren(
      h("p", { text }),
      more ? h("p", { class: "note", text: more }) : "",
      ...rest,
    );
  }
}
