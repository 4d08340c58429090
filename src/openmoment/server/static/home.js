// The folder's videos, and bringing in more.

import { api, thumbnailUrl, upload } from "./api.js";
import { byId, h, icon, name } from "./dom.js";
import { bytes, clock, counted } from "./format.js";
import { complain, say } from "./notices.js";
import { RowPictures } from "./thumbs.js";

const PAGE = 60;
const FILTER_FROM = 9; // videos

export class Home {
  videos = [];
  #shown = PAGE;

  constructor() {
    this.list = byId("videos");
    this.filter = byId("video-filter");
    this.more = byId("more-videos");
    this.pictures = new RowPictures();
    const chooser = byId("video-file");
    byId("choose").addEventListener("click", () => chooser.click());
    chooser.addEventListener("change", () => {
      this.bring([...chooser.files]);
      chooser.value = "";
    });
    this.filter.addEventListener("input", () => this.#render());
    this.more.addEventListener("click", () => {
      this.#shown += PAGE;
      this.#render();
    });
  }

  async load() {
    try {
      this.videos = (await api.videos()).videos;
      this.#render();
    } catch (failure) {
      complain(failure);
    }
  }

  /** Uploads the files one after the other, and opens the first. */
  async bring(files) {
    const made = [];
    for (const file of files) {
      const video = await this.#upload(file);
      if (video) made.push(video);
    }
    await this.load();
    if (made.length) location.hash = `v=${made[0].id}`;
  }

  async #upload(file) {
    const stop = new AbortController();
    const bar = h("progress", { max: 1, value: 0, "aria-label": `Upload of ${file.name}` });
    const cancel = h("button", { type: "button", text: "Cancel", onclick: () => stop.abort() });
    const line = h(
      "li",
      { class: "job" },
      h("span", { class: "job-title" }, name(file.name)),
      bar,
      h("span", { class: "job-words", text: bytes(file.size) }),
      cancel,
    );
    byId("uploads").append(line);
    try {
      return await upload(file, (share) => (bar.value = share), stop.signal);
    } catch (failure) {
      if (stop.signal.aborted) say(`${file.name} is not added`);
      else complain(`${file.name}: ${failure.message}`);
      return null;
    } finally {
      line.remove();
    }
  }

  #render() {
    const wanted = this.filter.value.trim().toLocaleLowerCase();
    const fits = this.videos.filter((video) => video.name.toLocaleLowerCase().includes(wanted));
    this.filter.hidden = this.videos.length < FILTER_FROM;
    this.pictures.clear();
    this.list.replaceChildren(...fits.slice(0, this.#shown).map((video) => this.#card(video)));
    this.more.hidden = fits.length <= this.#shown;
    const none = byId("no-videos");
    none.hidden = fits.length > 0;
    none.textContent = this.videos.length
      ? "No name has these letters."
      : "None yet. Drop one above, or put files into the folder and reload this page.";
  }

  #card(video) {
    const picture = h("img", { alt: "", decoding: "async", width: 160, height: 90 });
    const frame = h("span", { class: "frame" }, icon("film"), picture);
    if (!video.error && video.duration_s) {
      this.pictures.watch(picture, thumbnailUrl(video.id, video.duration_s / 3, 120));
    } else picture.hidden = true;
    const link = h(
      "a",
      { href: `#v=${video.id}`, class: "card" },
      frame,
      h("span", { class: "card-name" }, name(video.name)),
      h("span", { class: "card-facts", text: factsOf(video) }),
    );
    return h("li", { class: video.error ? "broken" : "" }, link);
  }
}

function factsOf(video) {
  if (video.error) return video.error;
  const parts = [video.duration_s ? clock(video.duration_s, 0) : null, bytes(video.size_bytes)];
  if (video.queries) {
    parts.push(
      `${counted(video.queries, "query", "queries")}, ${counted(video.moments, "moment")}`,
    );
  }
  return parts.filter(Boolean).join(" · ");
}
