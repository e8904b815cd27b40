/** What the reader says of answers: the same place, or not. */

import { here } from "./address.js";
import { call, get, has } from "./api.js";
import { say } from "./said.js";
import { t } from "./texts.js";

let marks = new Map();
let changed = () => {};

export const canMark = () => has("/v1/feedback", "put");
export const markOf = (id) => marks.get(id);
export const countSame = () => [...marks.values()].filter((same) => same).length;
export const countMarks = () => marks.size;

/** Call `listener` after each mark. */
export const onMark = (listener) => (changed = listener);

const asked = ({ query, photo, c }) => ({ query, photo, collection: c });

export async function loadMarks(state, signal) {
  marks = new Map();
  if (!canMark()) return;
  const reply = await get("v1/feedback", asked(state), signal);
  marks = new Map(reply.marks.map(({ answer, same }) => [answer, same]));
}

/** Keep that an answer shows the same place (true), another (false), or take it back (null). */
export async function mark(answer, same) {
  const state = here();
  const json = { ...asked(state), answer, same, ...(state.box ? { box: state.box } : {}) };
  await call("PUT", "v1/feedback", { json });
  if (same === null) marks.delete(answer);
  else marks.set(answer, same);
  say(t(same === null ? "mark_gone" : same ? "marked_same" : "marked_other"));
  changed(answer);
}
