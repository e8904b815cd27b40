/** The address holds the whole state of the page, so Back works and a link can be shared. */

const KEYS = ["view", "c", "photo", "query", "box", "folder", "after", "before", "gps", "top", "verify", "marked", "why", "id", "a", "b", "hidden"];
/** What narrows a search; kept when the query changes. */
export const FILTERS = ["folder", "after", "before", "gps"];

/** {key: text} of the known keys in a hash such as "#photo=a/b.jpg&box=1,2,30,40". */
export function parse(hash) {
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  return Object.fromEntries(KEYS.filter((key) => given.get(key)).map((key) => [key, given.get(key)]));
}

/** The hash of a state; the same state always gives the same text. */
export function format(state) {
  const pairs = KEYS.filter((key) => state[key]).map((key) => [key, state[key]]);
  return "#" + new URLSearchParams(pairs).toString().replaceAll("%2F", "/").replaceAll("%2C", ",");
}

export const here = () => parse(location.hash);

/** Go to `state`; with `replace` the step before is not kept for Back. */
export function go(state, { replace = false } = {}) {
  const hash = format(state);
  if (hash === (location.hash || "#")) return;
  if (replace) {
    history.replaceState(null, "", hash);
    dispatchEvent(new HashChangeEvent("hashchange"));
  } else location.hash = hash;
}

/** Change some keys of where we are; an empty value takes a key away. */
export const change = (changes, options) => go({ ...here(), ...changes }, options);

/** Whether we are still where we were when this was called: what comes late leads nobody away. */
export function staying() {
  const { hash } = location;
  return () => location.hash === hash;
}

/** A new query: what narrowed the last one stays, its box and marks do not. */
export function ask(query) {
  const now = here();
  const kept = Object.fromEntries(["c", "top", "verify", ...FILTERS].map((key) => [key, now[key]]));
  go({ ...kept, ...query });
}

/** [x0, y0, x1, y1] px of a text such as "1,2,30,40", or null. */
export function boxOf(text) {
  const box = (text || "").split(",").map(Number);
  return box.length === 4 && box.every(Number.isFinite) ? box : null;
}
