// The tabs beside the player: arrows go from one to the next, as the pattern has it.

import { byId } from "./dom.js";

export class Tabs {
  constructor(onshow = {}) {
    this.onshow = onshow;
    this.tabs = [...byId("tabs").querySelectorAll("[role=tab]")];
    for (const tab of this.tabs) {
      tab.addEventListener("click", () => this.choose(tab.getAttribute("aria-controls")));
    }
    byId("tabs").addEventListener("keydown", (event) => this.#key(event));
  }

  choose(panel) {
    for (const tab of this.tabs) {
      const isChosen = tab.getAttribute("aria-controls") === panel;
      tab.setAttribute("aria-selected", isChosen);
      tab.tabIndex = isChosen ? 0 : -1;
      byId(tab.getAttribute("aria-controls")).hidden = !isChosen;
    }
    this.onshow[panel]?.();
  }

  #key(event) {
    const at = this.tabs.indexOf(document.activeElement);
    const last = this.tabs.length - 1;
    const steps = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: last };
    if (at < 0 || !(event.key in steps)) return;
    event.preventDefault();
    const tab = this.tabs[(steps[event.key] + this.tabs.length) % this.tabs.length];
    this.choose(tab.getAttribute("aria-controls"));
    tab.focus();
  }
}
