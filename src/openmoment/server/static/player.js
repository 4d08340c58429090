// The video and its buttons. Times are seconds.

import { mediaUrl } from "./api.js";
import { byId, h, setIcon } from "./dom.js";
import { clock } from "./format.js";

const RATES = [0.25, 0.5, 1, 1.5, 2, 4];
const SHUTTLE = [1, 2, 4, 8];

/** Events: "time" (where it is), "length" (how long it is, once known), "trouble" (cannot play). */
export class Player extends EventTarget {
  #stretch = null; // {start, end} that is being played, then it stops
  #back = 0; // speed of playing backwards
  #wanted = null; // where to seek next, while a seek is under way
  #frame = 0;

  constructor(view) {
    super();
    this.view = view;
    this.video = byId("video");
    this.buttons = { play: byId("play"), mute: byId("mute"), repeat: byId("repeat") };
    this.rate = byId("rate");
    this.clock = byId("clock");
    for (const rate of RATES) this.rate.append(h("option", { value: rate, text: `${rate}×` }));
    this.rate.value = "1";
    this.#listen();
  }

  get now() {
    return this.#wanted ?? this.video.currentTime;
  }

  get isPlaying() {
    return !this.video.paused || this.#back > 0;
  }

  get duration() {
    return Number.isFinite(this.video.duration) ? this.video.duration : 0;
  }

  open(video) {
    this.#rest();
    this.item = video;
    this.video.src = mediaUrl(video.id, video.playable);
    this.#tell();
  }

  close() {
    this.#rest();
    this.video.removeAttribute("src");
    this.video.load();
  }

  /** A video that does not play here: the playhead can be moved all the same. */
  hold(video) {
    this.close();
    this.item = video;
    this.#tell();
  }

  seek(seconds) {
    this.#stretch = null;
    this.#go(seconds);
  }

  step(seconds) {
    this.pause();
    this.seek(this.now + seconds);
  }

  /** One frame forwards (1) or back (-1). */
  stepFrame(direction) {
    this.step(direction / (this.item?.fps || 25));
  }

  toggle() {
    if (this.isPlaying) this.pause();
    else this.play();
  }

  play() {
    this.#back = 0;
    this.video.playbackRate = Number(this.rate.value);
    this.video.play().catch(() => this.#tell());
  }

  pause() {
    this.#back = 0;
    this.#stretch = null;
    this.video.pause();
    this.#tell();
  }

  /** Plays from start to end and stops there, or begins anew where repeat is on. */
  playStretch(start, end) {
    this.#go(start);
    this.#stretch = { start, end };
    this.play();
  }

  /** J and L: each press plays faster, backwards or forwards. */
  shuttle(direction) {
    const speed = direction > 0 ? (this.video.paused ? 0 : this.video.playbackRate) : this.#back;
    const next = SHUTTLE.find((one) => one > speed) ?? SHUTTLE.at(-1);
    this.#stretch = null;
    if (direction > 0) {
      this.#back = 0;
      this.video.playbackRate = next;
      this.video.play().catch(() => this.#tell());
      return next;
    }
    this.video.pause();
    this.#back = next;
    this.#run();
    return -next;
  }

  #rest() {
    this.#stretch = null;
    this.#back = 0;
    this.#wanted = null;
    this.video.pause();
  }

  #go(seconds) {
    const length = this.duration || this.item?.duration_s || 0;
    const at = Math.max(0, length ? Math.min(seconds, length) : seconds);
    this.#wanted = at;
    if (!this.video.seeking && this.video.readyState > 0) this.video.currentTime = at;
    this.#tell();
  }

  #listen() {
    const { video, buttons } = this;
    video.addEventListener("seeked", () => this.#settle());
    video.addEventListener("loadedmetadata", () => {
      if (this.#wanted !== null) video.currentTime = this.#wanted;
      this.dispatchEvent(new Event("length"));
    });
    for (const kind of ["play", "playing"]) video.addEventListener(kind, () => this.#run());
    for (const kind of ["pause", "timeupdate"]) video.addEventListener(kind, () => this.#tell());
    video.addEventListener("error", () => video.getAttribute("src") && this.#trouble());
    video.addEventListener("click", () => this.toggle());
    buttons.play.addEventListener("click", () => this.toggle());
    byId("frame-back").addEventListener("click", () => this.stepFrame(-1));
    byId("frame-on").addEventListener("click", () => this.stepFrame(1));
    buttons.mute.addEventListener("click", () => this.mute());
    buttons.repeat.addEventListener("click", () => this.repeat());
    this.rate.addEventListener("change", () => {
      video.playbackRate = Number(this.rate.value);
    });
  }

  mute() {
    this.video.muted = !this.video.muted;
    setIcon(
      this.buttons.mute,
      this.video.muted ? "muted" : "sound",
      this.video.muted ? "Unmute" : "Mute",
    );
  }

  repeat() {
    this.view.set({ repeat: !this.view.repeat });
    this.buttons.repeat.setAttribute("aria-pressed", this.view.repeat);
  }

  /** A seek has arrived: on to the one wanted meanwhile, if any. */
  #settle() {
    if (this.#wanted !== null && Math.abs(this.#wanted - this.video.currentTime) > 0.001) {
      this.video.currentTime = this.#wanted;
      this.#wanted = null;
    } else this.#wanted = null;
    this.#tell();
  }

  #trouble() {
    this.#wanted = null;
    this.dispatchEvent(new Event("trouble"));
  }

  /** While it plays: every frame, where it is. */
  #run() {
    cancelAnimationFrame(this.#frame);
    let before = performance.now();
    const follow = (time) => {
      if (!this.isPlaying) return this.#tell();
      if (this.#back) this.#goBack((time - before) / 1000);
      before = time;
      this.#endStretch();
      this.#tell();
      this.#frame = requestAnimationFrame(follow);
      return undefined;
    };
    this.#frame = requestAnimationFrame(follow);
  }

  #goBack(elapsed) {
    const at = this.now - elapsed * this.#back;
    if (at <= 0) this.#back = 0;
    this.#go(at);
  }

  #endStretch() {
    if (!this.#stretch || this.#wanted !== null || this.video.currentTime < this.#stretch.end)
      return;
    const { start, end } = this.#stretch;
    if (this.view.repeat) return this.#go(start);
    this.video.pause();
    this.#stretch = null;
    this.#go(end);
    return undefined;
  }

  #tell() {
    setIcon(
      this.buttons.play,
      this.isPlaying ? "pause" : "play",
      this.isPlaying ? "Pause" : "Play",
    );
    const length = this.item?.duration_s ?? this.duration;
    this.clock.textContent = `${clock(this.now, 2)} / ${clock(length)}`;
    this.dispatchEvent(new Event("time"));
  }
}
