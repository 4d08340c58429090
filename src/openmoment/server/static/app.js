// The page put together: which video is open, and who listens to whom.

import { Actions } from "./actions.js";
import { api } from "./api.js";
import { byId, debounced, icon, name } from "./dom.js";
import { Files } from "./files.js";
import { Find } from "./find.js";
import { counted } from "./format.js";
import { Gestures } from "./gestures.js";
import { Home } from "./home.js";
import { Inspector } from "./inspector.js";
import { Jobs } from "./jobs.js";
import { Keys } from "./keys.js";
import { Lanes } from "./lanes.js";
import { Moments } from "./moments.js";
import { complain, say, settle } from "./notices.js";
import { Player } from "./player.js";
import { Question } from "./question.js";
import { Screen } from "./screen.js";
import { Statistics } from "./statistics.js";
import { lanesOf } from "./state.js";
import { Store } from "./store.js";
import { Tabs } from "./tabs.js";
import { HoverPicture } from "./thumbs.js";
import { Timeline } from "./timeline.js";
import { View } from "./view.js";

for (const place of document.querySelectorAll("[data-icon]"))
  place.prepend(icon(place.dataset.icon));

const store = new Store();
const view = new View();
const player = new Player(view);
const timeline = new Timeline(store, view);
const actions = new Actions({ store, view, player, timeline });
const jobs = new Jobs(store);
const parts = { store, view, player, timeline, actions, jobs };
const lanes = new Lanes(parts);
const moments = new Moments(parts);
const inspector = new Inspector(parts);
const find = new Find(parts);
const home = new Home();
const files = new Files({ store, home });
const question = new Question(parts);
const statistics = new Statistics(parts);
const screen = new Screen(parts);
const gestures = new Gestures(timeline, actions, player);
const tabs = new Tabs({ statistics: () => statistics.load() });
const keys = new Keys(parts, {
  find: () => find.focus(),
  relabel: () => {
    tabs.choose("moments");
    inspector.relabel();
  },
  cancel,
});
new HoverPicture(timeline);

let isOpening = null; // id of the video that is being opened

/** The address names video and stretch on view: `#v=…&from=…&to=…&at=…`, or `#…` alone. */
async function route() {
  const address = addressed();
  const id = address.get("v");
  if (!id) return close();
  if (store.video?.id === id || isOpening === id) return undefined;
  if (!(await leave())) return undefined;
  isOpening = id;
  try {
    const [video, review] = await Promise.all([api.video(id), api.review(id)]);
    if (isOpening === id) open(video, review, address);
  } catch (failure) {
    complain(failure);
    location.hash = "";
  } finally {
    isOpening = null;
  }
  return undefined;
}

function addressed() {
  const hash = location.hash.slice(1);
  return new URLSearchParams(hash.includes("=") ? hash : { v: hash });
}

function open(video, review, address) {
  show("editor");
  video.duration_s ??= review.video.duration_s;
  view.open(video.id);
  store.open(video, review);
  byId("title").replaceChildren(name(video.name));
  document.title = `${video.name} – OpenMoment`;
  for (const part of [find, moments, question, statistics]) part.open();
  tabs.choose("moments");
  lanes.render();
  moments.render();
  inspector.render();
  timeline.open();
  screen.open(video);
  jobs.render();
  const [from, to, at] = ["from", "to", "at"].map((key) => Number(address.get(key)));
  if (to > from) timeline.viewport.show(from, to);
  if (at > 0) player.seek(at);
  timeline.moved();
  say("");
}

/** Back to the folder. */
async function close() {
  if (!(await leave())) return;
  store.video = null;
  player.close();
  document.title = "OpenMoment";
  show("home");
  home.load();
}

/** Saves what is open; says so and stays where that fails. */
async function leave() {
  const { video } = store;
  if (!video || store.isSaved || (await store.save())) return true;
  complain("The last changes are not saved yet, so the video stays open. Try again in a moment.");
  history.replaceState(null, "", `#v=${video.id}`);
  return false;
}

function show(part) {
  const isEditor = part === "editor";
  byId("home").hidden = isEditor;
  byId("editor").hidden = !isEditor;
  for (const id of ["title", "saved", "export-menu", "import"]) byId(id).hidden = !isEditor;
}

function cancel() {
  gestures.cancel();
  if (view.selected !== null || view.in !== null || view.out !== null) {
    view.set({ selected: null, in: null, out: null });
  } else document.activeElement?.blur();
}

const keepAddress = debounced(() => {
  if (!store.video || addressed().get("v") !== store.video.id) return; // on the way to another
  const { viewport } = timeline;
  const address = new URLSearchParams({ v: store.video.id });
  if (!viewport.isWhole) {
    address.set("from", viewport.start.toFixed(2));
    address.set("to", viewport.end.toFixed(2));
  }
  if (player.now > 0) address.set("at", player.now.toFixed(2));
  history.replaceState(null, "", `#${address}`);
}, 300);

function showSaving() {
  const words = {
    saved: "Saved",
    unsaved: "Not saved yet",
    sending: "Saving…",
    failed: "Not saved",
  };
  byId("saved").textContent = words[store.saving];
  byId("saved").dataset.state = store.saving;
  if (store.saving === "saved" && store.trouble) {
    settle(store.trouble);
    store.trouble = null;
  }
}

function showEdits() {
  byId("undo").disabled = !store.canUndo;
  byId("redo").disabled = !store.canRedo;
}

function toggleTheme() {
  const root = document.documentElement;
  const isDark =
    getComputedStyle(root).colorScheme === "dark" ||
    (!root.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
  root.dataset.theme = isDark ? "light" : "dark";
  localStorage.setItem("openmoment.theme", root.dataset.theme);
  document.dispatchEvent(new Event("theme"));
}

function press(id, act) {
  byId(id).addEventListener("click", act);
}

function listen() {
  store.addEventListener("saving", showSaving);
  store.addEventListener("change", showEdits);
  store.addEventListener("trouble", ({ detail }) => {
    store.trouble = detail.message;
    complain(detail);
  });
  store.addEventListener("conflict", () => {
    complain(
      "This review was changed elsewhere meanwhile. Your last changes were put on top of it.",
    );
  });
  player.addEventListener("time", () => {
    timeline.setNow(player.now, player.isPlaying);
    keepAddress();
  });
  timeline.addEventListener("viewport", keepAddress);
  jobs.addEventListener("review", ({ detail }) => {
    if (detail.video === store.video?.id) store.notice(detail.revision).catch(complain);
  });
  jobs.addEventListener("done", ({ detail }) => finished(detail));
  jobs.addEventListener("back", () => {
    if (store.video) store.reload().catch(complain);
    else home.load();
  });
  window.addEventListener("hashchange", route);
  window.addEventListener("beforeunload", (event) => {
    if (store.video && !store.isSaved) event.preventDefault();
  });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden && store.video && !store.isSaved) store.save();
  });
}

async function finished(job) {
  if (job.kind !== "find" || job.video !== store.video?.id) return;
  await store.reload().catch(complain);
  await timeline.loadCurves();
  const found = lanesOf(store.doc).filter(({ query }) => job.queries.includes(query.query));
  const count = found.reduce((total, { shown }) => total + shown.length, 0);
  say(`${counted(count, "moment")} found for ${job.queries.join(", ")}`);
}

function bindButtons() {
  press("undo", () => actions.undo());
  press("redo", () => actions.redo());
  press("in", () => actions.setPoint("in"));
  press("out", () => actions.setPoint("out"));
  press("add", () => actions.addFromPoints());
  press("split", () => actions.split());
  press("merge", () => actions.merge());
  press("snap", () => {
    view.set({ snap: !view.snap });
    byId("snap").setAttribute("aria-pressed", view.snap);
  });
  press("zoom-in", () => timeline.zoom(0.5));
  press("zoom-out", () => timeline.zoom(2));
  press("fit", () => timeline.fit());
  press("theme", toggleTheme);
  press("help", () => keys.show());
}

listen();
bindButtons();
showEdits();
jobs.listen();
Promise.all([find.load(), files.load()]).catch(complain);
route();
