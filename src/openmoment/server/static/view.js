// What the person looks at: no part of the review, and not undone.

export class View extends EventTarget {
  selected = null; // id of a segment
  lane = null; // name of the query that new segments go to
  in = null; // seconds
  out = null;
  snap = true;
  repeat = false;
  hidden = new Set(); // names of queries
  answer = null; // {question, moments} of the question asked last

  constructor(storage = window.localStorage) {
    super();
    this.storage = storage;
  }

  /** Sets some of the above and tells those who listen to "change", if anything differs. */
  set(parts) {
    const changed = Object.entries(parts).filter(([field, value]) => this[field] !== value);
    if (!changed.length) return;
    Object.assign(this, parts);
    this.dispatchEvent(new Event("change"));
  }

  /** Another video: nothing selected, and the lanes hidden as they were left. */
  open(videoId) {
    this.key = `openmoment.hidden.${videoId}`;
    const hidden = new Set(JSON.parse(this.storage.getItem(this.key) ?? "[]"));
    this.set({ selected: null, lane: null, in: null, out: null, answer: null, hidden });
  }

  toggleLane(query) {
    const hidden = new Set(this.hidden);
    if (!hidden.delete(query)) hidden.add(query);
    if (hidden.size) this.storage.setItem(this.key, JSON.stringify([...hidden]));
    else this.storage.removeItem(this.key);
    this.set({ hidden });
  }
}
