// What the page says: a line in the timeline's bar, and notices that stay until they are closed.

import { byId, h, icon } from "./dom.js";

const NOTICES_KEPT = 4;

/** Says what just happened, to those who see it and those who hear it. */
export function say(text) {
  byId("said").textContent = text;
}

/** Says what went wrong, in the words of whoever found it; the same words only once. */
export function complain(failure) {
  const text = typeof failure === "string" ? failure : failure.message;
  const box = byId("notices");
  for (const notice of [...box.children]) {
    if (notice.dataset.text === text) notice.remove();
  }
  const close = h(
    "button",
    {
      type: "button",
      class: "bare",
      "aria-label": "Close",
      title: "Close",
      onclick: (event) => event.currentTarget.parentElement.remove(),
    },
    icon("reject"),
  );
  const words = h("p", { text: text.charAt(0).toUpperCase() + text.slice(1), dir: "auto" });
  box.append(h("div", { class: "notice", role: "alert", "data-text": text }, words, close));
  while (box.children.length > NOTICES_KEPT) box.firstElementChild.remove();
}

/** Takes back a complaint that no longer holds. */
export function settle(text) {
  for (const notice of [...byId("notices").children]) {
    if (notice.dataset.text === text) notice.remove();
  }
}
