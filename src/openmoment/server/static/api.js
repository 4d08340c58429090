// Every call to the server. A failed one throws a Failure with the server's own line.

export class Failure extends Error {
  constructor(message, { status = 0, position = null } = {}) {
    super(message);
    this.status = status;
    this.position = position;
  }
}

const video = (id) => `/api/videos/${encodeURIComponent(id)}`;

export const api = {
  health: () => get("/api/health"),
  backbones: () => get("/api/backbones"),
  methods: () => get("/api/methods"),
  formats: () => get("/api/formats"),
  videos: () => get("/api/videos"),
  video: (id) => get(video(id)),
  makePlayable: (id) => send("POST", `${video(id)}/playable`),
  review: (id) => get(`${video(id)}/review`),
  saveReview: (id, review) => send("PUT", `${video(id)}/review`, review),
  curves: (id, options) => get(`${video(id)}/curves?${new URLSearchParams(options)}`),
  jobs: () => get("/api/jobs"),
  find: (job) => send("POST", "/api/jobs", job),
  cancel: (id) => send("POST", `/api/jobs/${encodeURIComponent(id)}/cancel`),
  again: (id) => send("POST", `/api/jobs/${encodeURIComponent(id)}/again`),
  ask: (id, question) => send("POST", `${video(id)}/ask`, { question }),
  statistics: (id) => get(`${video(id)}/statistics`),
  importFile: (id, file, format) => {
    const query = new URLSearchParams(format ? { name: file.name, format } : { name: file.name });
    return call(`${video(id)}/import?${query}`, { method: "POST", body: file });
  },
  events: () => new EventSource("/api/events"),
};

export const mediaUrl = (id, version) => `${video(id)}/media?v=${version}`;
export const thumbnailUrl = (id, at, height) =>
  `${video(id)}/thumbnail?at=${at.toFixed(2)}&height=${height}`;
export const exportUrl = (id, format) => `${video(id)}/export?format=${encodeURIComponent(format)}`;

/** Sends a video, and tells `onProgress` the share sent, which fetch could not. */
export function upload(file, onProgress, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", `/api/videos?name=${encodeURIComponent(file.name)}`);
    request.responseType = "text";
    request.upload.onprogress = (event) => onProgress(event.loaded / Math.max(1, event.total));
    request.onload = () => {
      const answer = parsed(request.responseText);
      if (request.status < 300) resolve(answer);
      else reject(failure(request.status, answer));
    };
    request.onerror = () => reject(unreachable());
    request.onabort = () => reject(new Failure("the upload was cancelled"));
    signal?.addEventListener("abort", () => request.abort());
    request.send(file);
  });
}

function get(url) {
  return call(url, {});
}

function send(method, url, body) {
  const headers = { "Content-Type": "application/json" };
  return call(url, { method, headers, body: body === undefined ? null : JSON.stringify(body) });
}

/** Whose changes these are; kept in this browser. */
export const who = {
  get: () => localStorage.getItem("openmoment.name") ?? "",
  set: (name) => localStorage.setItem("openmoment.name", name.trim()),
};

async function call(url, { headers = {}, ...options }) {
  const named = who.get()
    ? { ...headers, "X-OpenMoment-Name": encodeURIComponent(who.get()) }
    : headers;
  const response = await fetch(url, { ...options, headers: named }).catch(() => {
    throw unreachable();
  });
  const answer = parsed(await response.text());
  if (!response.ok) throw failure(response.status, answer);
  return answer;
}

function unreachable() {
  return new Failure("the server does not answer: is openmoment serve still running?");
}

function failure(status, answer) {
  const message = answer?.error ?? `the server answered ${status}`;
  return new Failure(message, { status, position: answer?.position ?? null });
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
