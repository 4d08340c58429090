// Taking moments to other tools and back, and dropping files anywhere on the page.

import { api, exportUrl } from "./api.js";
import { byId, h } from "./dom.js";
import { counted } from "./format.js";
import { complain, say } from "./notices.js";
import { popup } from "./popup.js";

const VIDEO = /\.(mp4|m4v|mov|mkv|webm|avi|ts|mts|m2ts|mpg|mpeg|wmv|flv|ogv|3gp)$/i;

export class Files {
  constructor({ store, home }) {
    Object.assign(this, { store, home });
    this.popup = popup(byId("export"), byId("export-list"));
    const chooser = byId("import-file");
    byId("import").addEventListener("click", () => chooser.click());
    chooser.addEventListener("change", () => {
      for (const file of chooser.files) this.bringIn(file);
      chooser.value = "";
    });
    this.#listenToDrops();
  }

  async load() {
    const answer = await api.formats();
    this.formats = Array.isArray(answer) ? answer : (answer.formats ?? []);
    const writes = this.formats.filter((format) => format.writes);
    byId("export-list").replaceChildren(...writes.map((format) => this.#item(format)));
    const reads = this.formats
      .filter((format) => format.reads)
      .map(({ extension }) => dotted(extension));
    byId("import-file").accept = [...new Set(reads)].join(",");
  }

  #item({ name, extension, about, loses }) {
    const lost = loses
      ? h("small", { text: `Loses: ${loses.replace(/\.$/, "")}` })
      : h("small", { text: "Loses nothing" });
    return h(
      "button",
      { type: "button", class: "format", onclick: () => this.#export(name) },
      h("strong", { text: name }),
      h("span", { class: "extension", text: dotted(extension) }),
      h("span", { class: "about", text: about }),
      lost,
    );
  }

  /** What is on the page is saved first, so that the file has it. */
  async #export(format) {
    this.popup.close();
    if (!this.store.isSaved) await this.store.save();
    const answer = await fetch(exportUrl(this.store.video.id, format)).catch(() => null);
    if (!answer?.ok) {
      const told = await answer?.json().catch(() => null);
      complain(told?.error ?? "the server does not answer");
      return;
    }
    const url = URL.createObjectURL(await answer.blob());
    h("a", { href: url, download: nameIn(answer) ?? `moments.${format}` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60000);
    say(`Exported as ${format}`);
  }

  /** Adds a file's moments to the open video. */
  async bringIn(file) {
    try {
      await this.store.save();
      const before = this.store.doc.segments.length;
      this.store.receive(await api.importFile(this.store.video.id, file));
      const more = this.store.doc.segments.length - before;
      say(
        more > 0
          ? `${counted(more, "moment")} imported from ${file.name}`
          : `Nothing new in ${file.name}`,
      );
    } catch (failure) {
      complain(`${file.name}: ${failure.message}`);
    }
  }

  #listenToDrops() {
    const cover = byId("dropping");
    const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
    document.addEventListener("dragover", (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      cover.hidden = false;
    });
    document.addEventListener("dragleave", (event) => {
      if (!event.relatedTarget) cover.hidden = true;
    });
    document.addEventListener("drop", (event) => {
      cover.hidden = true;
      if (!hasFiles(event)) return;
      event.preventDefault();
      this.#dropped([...event.dataTransfer.files]);
    });
  }

  #dropped(files) {
    const isVideo = (file) => file.type.startsWith("video/") || VIDEO.test(file.name);
    const videos = files.filter(isVideo);
    const others = files.filter((file) => !isVideo(file));
    if (videos.length) this.home.bring(videos);
    if (others.length && !this.store.video) {
      complain(
        `${others[0].name} is no video: open a video first, then drop files of moments on it`,
      );
    } else for (const file of others) this.bringIn(file);
  }
}

function dotted(extension) {
  return extension.startsWith(".") ? extension : `.${extension}`;
}

function nameIn(answer) {
  const header = answer.headers.get("Content-Disposition") ?? "";
  const coded = /filename\*=utf-8''([^;]+)/i.exec(header);
  if (coded) return decodeURIComponent(coded[1]);
  return /filename="([^"]+)"/i.exec(header)?.[1] ?? null;
}
