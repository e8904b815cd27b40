/** What the reader says of answers: the same place, or not. */

import { here } from "./address.js";
import { call, get, has } from "./api.js";
import { mayChange } from "./collections.js";
import { say } from "./said.js";
import { t } from "./texts.js";

let marks = new Map(); // what the service keeps of the query `owner`
let owner = "";
let written = new Map(); // marks that were kept since those of the query were asked for
let wanted = new Map(); // marks on their way
let last = Promise.resolve();
let changed = () => {};

export const canMark = () => mayChange("/v1/feedback", "put");
export const markOf = (id) => marks.get(id);
export const countSame = () => [...marks.values()].filter((same) => same).length;
export const countMarks = () => marks.size;

/** Call `listener` after each mark. */
export const onMark = (listener) => (changed = listener);

const asked = ({ query, photo, c }) => ({ query, photo, collection: c });
const nameOf = (state) => JSON.stringify(asked(state));

function put(answer, same) {
  if (same === null) marks.delete(answer);
  else marks.set(answer, same);
}

export async function loadMarks(state, signal) {
  if (nameOf(state) !== owner) [marks, wanted, owner] = [new Map(), new Map(), nameOf(state)];
  if (!has("/v1/feedback")) return;
  const meanwhile = (written = new Map());
  const reply = await get("v1/feedback", asked(state), signal);
  marks = new Map(reply.marks.map(({ answer, same }) => [answer, same]));
  meanwhile.forEach((same, answer) => put(answer, same));
}

/** Keep that an answer shows the same place (true), or another (false); what is said again is taken back. */
export async function toggle(answer, same) {
  const state = here();
  const is = wanted.has(answer) ? wanted.get(answer) : marks.get(answer);
  const next = is === same ? null : same;
  const json = { ...asked(state), answer, same: next, ...(state.box && { box: state.box }) };
  wanted.set(answer, next);
  const mine = last.catch(() => {}).then(() => call("PUT", "v1/feedback", { json })); // one after the other
  last = mine;
  try {
    await mine;
  } finally {
    if (last === mine) wanted.clear();
  }
  if (nameOf(state) !== owner) return; // another query is on the screen
  put(answer, next);
  written.set(answer, next);
  say(t(next === null ? "mark_gone" : next ? "marked_same" : "marked_other"));
  changed(answer);
}
