// The review document and what can be done to it. Pure functions: each edit gives a new document
// that shares what did not change, so that undo is a list of documents. Times are seconds.

export const OPEN = "open";
export const ACCEPTED = "accepted";
export const REJECTED = "rejected";

const SHORTEST = 0.04; // seconds: about a frame, so that no edit makes an empty segment
const STEPS_KEPT = 100;

/** A document from what the server sent. */
export function documentOf(review) {
  return { queries: review.queries, segments: review.segments };
}

export function segmentOf(doc, id) {
  return doc.segments.find((segment) => segment.id === id) ?? null;
}

export function queryOf(doc, query) {
  return doc.queries.find((one) => one.query === query) ?? null;
}

/** Why a query was not looked for, in words of this page rather than of the command line. */
export function whyHere(why) {
  return why.replace(
    /Ask --ask '?(.*?)'?$/,
    (_, question) => `Find it without that, then ask the question: ${question}`,
  );
}

/** Whether a segment is on view: a person's word always is, a guess from the threshold on. */
function isShown(segment, threshold) {
  return segment.status !== OPEN || segment.score === null || segment.score >= threshold;
}

const indexed = new WeakMap(); // lanes by document
const ordered = new WeakMap(); // segments by start, by the segments of a document

/**
 * The lanes of a document, in the order of its queries. Each has `shown` segments by start, `ends`
 * (the largest end so far, for binary search) and how many are `below` the threshold.
 */
export function lanesOf(doc) {
  if (indexed.has(doc)) return indexed.get(doc);
  const lanes = doc.queries.map((query) => ({ query, shown: [], below: 0 }));
  const byName = new Map(lanes.map((lane) => [lane.query.query, lane]));
  for (const segment of byStart(doc.segments)) {
    const lane = byName.get(segment.query);
    if (!lane) continue;
    if (isShown(segment, lane.query.threshold)) lane.shown.push(segment);
    else lane.below += 1;
  }
  for (const lane of lanes) {
    lane.ends = largestSoFar(lane.shown.map((segment) => segment.end_s));
  }
  indexed.set(doc, lanes);
  return lanes;
}

function byStart(segments) {
  const known = ordered.get(segments);
  if (known) return known;
  const sorted = [...segments].sort((a, b) => a.start_s - b.start_s || a.end_s - b.end_s);
  ordered.set(segments, sorted);
  return sorted;
}

export function largestSoFar(values) {
  let largest = -Infinity;
  return values.map((value) => (largest = Math.max(largest, value)));
}

/** The index of the first of ascending `values` above `limit`; their number if none is. */
export function firstAbove(values, limit) {
  let [low, high] = [0, values.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] > limit) high = middle;
    else low = middle + 1;
  }
  return low;
}

// Edits

/** New times, in order, inside the video, a frame apart at least; an open one is accepted. */
export function move(doc, id, start, end, duration) {
  const [from, to] = bounded(start, end, duration);
  return change(doc, id, (segment) => ({
    ...segment,
    start_s: from,
    end_s: to,
    status: segment.status === OPEN ? ACCEPTED : segment.status,
  }));
}

export function bounded(start, end, duration) {
  const limit = duration > 0 ? duration : Infinity;
  const from = Math.min(Math.max(0, Math.min(start, end)), Math.max(0, limit - SHORTEST));
  const to = Math.min(limit, Math.max(from + SHORTEST, Math.max(start, end)));
  return [rounded(from), rounded(to)];
}

export function relabel(doc, id, query) {
  return change(doc, id, (segment) => ({
    ...segment,
    query,
    status: segment.status === OPEN ? ACCEPTED : segment.status,
  }));
}

export function setStatus(doc, id, status) {
  return change(doc, id, (segment) => ({ ...segment, status }));
}

/** Two accepted segments where one was; null where `at` is not inside it. */
export function split(doc, id, at, newId) {
  const segment = segmentOf(doc, id);
  if (!segment || at - segment.start_s < SHORTEST || segment.end_s - at < SHORTEST) return null;
  const cut = rounded(at);
  const first = { ...segment, end_s: cut, status: ACCEPTED };
  const second = { ...segment, id: newId, start_s: cut, status: ACCEPTED, predicted: null };
  const segments = doc.segments.flatMap((one) => (one.id === id ? [first, second] : [one]));
  return { ...doc, segments };
}

/** The segment of the same query that follows on view; null if it is the last. */
export function following(doc, id) {
  const segment = segmentOf(doc, id);
  const lane = lanesOf(doc).find((one) => one.query.query === segment?.query);
  const at = lane ? lane.shown.findIndex((one) => one.id === id) : -1;
  return at < 0 ? null : (lane.shown[at + 1] ?? null);
}

/** One accepted segment from the first's start to the later end; the other goes. */
export function merge(doc, id, otherId) {
  const [one, other] = [segmentOf(doc, id), segmentOf(doc, otherId)];
  const merged = {
    ...one,
    start_s: Math.min(one.start_s, other.start_s),
    end_s: Math.max(one.end_s, other.end_s),
    status: ACCEPTED,
  };
  const segments = doc.segments.filter((segment) => segment.id !== otherId);
  return change({ ...doc, segments }, id, () => merged);
}

export function remove(doc, id) {
  return { ...doc, segments: doc.segments.filter((segment) => segment.id !== id) };
}

export function add(doc, { id, query, start, end, duration }) {
  const [from, to] = bounded(start, end, duration);
  const times = { start_s: from, end_s: to };
  const segment = { id, ...times, query, score: null, status: ACCEPTED, predicted: null };
  return { ...doc, segments: [...doc.segments, segment] };
}

/** What a person says of a query: threshold, occurs, checked. */
export function mark(doc, query, marks) {
  const queries = doc.queries.map((one) => (one.query === query ? { ...one, ...marks } : one));
  return { ...doc, queries };
}

/** A further query that a person labels by hand. */
export function addQuery(doc, query) {
  const plain = { presence: null, threshold: 0, occurs: null, checked: false, made_by: null };
  return { ...doc, queries: [...doc.queries, { query, ...plain }] };
}

/** Without a query and all its segments. */
export function removeQuery(doc, query) {
  const isOther = (part) => part.query !== query;
  return { queries: doc.queries.filter(isOther), segments: doc.segments.filter(isOther) };
}

function change(doc, id, made) {
  return { ...doc, segments: doc.segments.map((one) => (one.id === id ? made(one) : one)) };
}

function rounded(seconds) {
  return Math.round(seconds * 1000) / 1000;
}

// Undo

export function historyOf(doc) {
  return { past: [], present: doc, future: [], key: null };
}

/** After an edit. Edits in a row under one `key` (a slider on its way) are undone as one. */
export function edited(history, doc, what, key = null) {
  const goesOn = key !== null && key === history.key;
  const past = goesOn ? history.past : [...history.past, { doc: history.present, what }];
  return { past: past.slice(-STEPS_KEPT), present: doc, future: [], key };
}

export function undone(history) {
  const step = history.past.at(-1);
  if (!step) return null;
  const future = [...history.future, { doc: history.present, what: step.what }];
  return { past: history.past.slice(0, -1), present: step.doc, future, key: null, what: step.what };
}

export function redone(history) {
  const step = history.future.at(-1);
  if (!step) return null;
  const past = [...history.past, { doc: history.present, what: step.what }];
  return {
    past,
    present: step.doc,
    future: history.future.slice(0, -1),
    key: null,
    what: step.what,
  };
}

// Two writers

/**
 * My changes since `base`, put on top of `theirs`: mine where I touched a thing, else theirs. A
 * query that one removes while another gives it segments stays, with these.
 */
export function rebase(base, mine, theirs) {
  if (same(base, mine)) return theirs;
  const queries = rebaseParts(base.queries, mine.queries, theirs.queries, "query");
  const segments = rebaseParts(base.segments, mine.segments, theirs.segments, "id");
  const missing = new Set(segments.map(({ query }) => query));
  for (const { query } of queries) missing.delete(query);
  const back = [...theirs.queries, ...mine.queries].filter(({ query }) => missing.delete(query));
  return { queries: [...queries, ...back], segments };
}

function rebaseParts(base, mine, theirs, key) {
  const before = new Map(base.map((part) => [part[key], part]));
  const now = new Map(mine.map((part) => [part[key], part]));
  const kept = theirs.flatMap((part) => {
    const [was, is] = [before.get(part[key]), now.get(part[key])];
    if (!was) return [is ?? part];
    if (!is) return [];
    return [alike(was, is) ? part : { ...part, ...changes(was, is) }];
  });
  const has = new Set(theirs.map((part) => part[key]));
  const more = mine.filter((part) => {
    const was = before.get(part[key]);
    return !has.has(part[key]) && !(was && alike(was, part));
  });
  return [...kept, ...more];
}

function changes(was, is) {
  return Object.fromEntries(Object.entries(is).filter(([field, value]) => value !== was[field]));
}

const FIELDS = ["start_s", "end_s", "query", "status", "score", "threshold", "occurs", "checked"];

function alike(a, b) {
  return a === b || FIELDS.every((field) => a[field] === b[field]);
}

/** Whether two documents say the same. */
export function same(a, b) {
  return sameParts(a.queries, b.queries) && sameParts(a.segments, b.segments);
}

function sameParts(a, b) {
  if (a === b) return true;
  return a.length === b.length && a.every((part, i) => part.id === b[i].id && alike(part, b[i]));
}
