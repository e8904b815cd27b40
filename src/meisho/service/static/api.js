/** The service's API v1: the same that programs use. */

const MOST_TRIES = 4;

let token = sessionStorage.getItem("token");
let paths = {};

/** What went wrong, as the service says it (RFC 9457). */
export class Problem extends Error {
  constructor({ type = "", title = "", status = 0, detail = "", remedy = "", where = "" }) {
    super(detail || title);
    Object.assign(this, { type, title, status, detail, remedy, where });
  }
}

export function useToken(value) {
  token = value;
  sessionStorage.setItem("token", value);
}

/** A token that came in the address once is kept for this tab alone, and taken out of the address: whether one came. */
export function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1));
  if (!given.has("token")) return false;
  useToken(given.get("token"));
  given.delete("token");
  history.replaceState(null, "", `#${given}`);
  return true;
}

const headers = (more = {}) => (token ? { ...more, Authorization: `Bearer ${token}` } : more);

export function address(path, params = {}) {
  const query = new URLSearchParams(Object.entries(params).filter(([, value]) => value != null && value !== ""));
  return `${path}${query.size ? `?${query}` : ""}`;
}

async function problemOf(reply) {
  const body = await reply.json().catch(() => ({}));
  return new Problem({ title: reply.statusText, ...body, status: reply.status });
}

/** The result of a part of an exchange; one that breaks off was left by the reader, or the service is gone. */
async function whole(part, signal) {
  try {
    return await part;
  } catch {
    signal?.throwIfAborted();
    throw new Problem({ type: "unreachable" });
  }
}

/** A module that is loaded when it is first needed. */
export const loaded = (module) => whole(module);

/** A pause that an abort ends. */
export const pause = (seconds, signal) =>
  new Promise((resolve, reject) => {
    const stop = () => reject(signal.reason);
    signal?.addEventListener("abort", stop, { once: true });
    setTimeout(resolve, seconds * 1000);
  });

/** The reply to a request; a busy service is asked again after the time it names. */
export async function send(method, path, { params, json, body, signal } = {}) {
  const type = json === undefined ? {} : { "Content-Type": "application/json" };
  const options = { method, signal, headers: headers(type), body: json === undefined ? body : JSON.stringify(json) };
  for (let left = MOST_TRIES; ; left--) {
    const reply = await whole(fetch(address(path, params), options), signal);
    if (reply.ok) return reply;
    if (reply.status !== 429 || left <= 1) throw await problemOf(reply);
    await pause(Number(reply.headers.get("Retry-After")) || 1, signal);
  }
}

export async function call(method, path, options) {
  const reply = await send(method, path, options);
  return reply.status === 204 ? null : whole(reply.json(), options?.signal);
}

export const get = (path, params, signal) => call("GET", path, { params, signal });

/** Learn which routes this build has: what has no route is not shown. */
export async function learnRoutes() {
  paths = (await get("openapi.json")).paths;
}

export const has = (path, method = "get") => Boolean(paths[path]?.[method]);

/** A file of the service, kept by the reader under `name`. */
export async function download(name, method, path, options) {
  const reply = await send(method, path, options);
  const url = URL.createObjectURL(await whole(reply.blob()));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** The events of a stream, as values, until it ends. */
export async function* events(path, options) {
  const reply = await send("GET", path, options);
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let text = ""; ; ) {
    const { value, done } = await whole(reader.read(), options?.signal);
    if (done) return;
    const parts = (text + value).split(/\r?\n\r?\n/);
    text = parts.pop();
    for (const part of parts) {
      const data = part.split(/\r?\n/).filter((line) => line.startsWith("data:"));
      if (data.length) yield JSON.parse(data.map((line) => line.slice(5)).join("\n"));
    }
  }
}

const near = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue;
      near.unobserve(target);
      fetchInto(target, target.dataset.src);
    }
  },
  { rootMargin: "600px" },
);

async function fetchInto(image, url) {
  try {
    image.src = URL.createObjectURL(await (await send("GET", url)).blob());
    image.addEventListener("load", () => URL.revokeObjectURL(image.src), { once: true });
  } catch {
    image.dispatchEvent(new Event("error"));
  }
}

/** Show a picture of the service; with a token it is fetched, as an <img> sends none. */
export function show(image, url, { lazy = true } = {}) {
  if (!token) {
    image.loading = lazy ? "lazy" : "eager";
    image.src = url;
  } else if (lazy) {
    image.dataset.src = url;
    near.observe(image);
  } else fetchInto(image, url);
}
