/** The keys of the page: one table that binds them and is shown by "?". */

import { $, el } from "./dom.js";
import { t } from "./texts.js";

const SIGNS = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", Escape: "Esc", Delete: "Del" };
const table = [];

/** Bind keys: `text` says in the list what `run` does; it may return false where it does not apply. */
export const bind = (keys, text, run) => table.push({ keys, text, run });

/** Keys that a part binds for itself (box, zoom), so that the list is whole. */
export const mention = (keys, text) => table.push({ keys, text });

/** Whether what is typed or pasted here is taken as text. */
export const writing = (target) => target.closest("input:not([type=range], [type=checkbox]), textarea, [contenteditable]");
const typing = (target) => writing(target) || target.closest("select");

addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
  const entry = table.find(({ keys, run }) => run && keys.includes(event.key));
  if (entry && entry.run(event) !== false) event.preventDefault();
});

export function showKeys() {
  const rows = table.map(({ keys, text }) =>
    el("tr", {}, el("td", {}, keys.map((key) => el("kbd", {}, SIGNS[key] || key))), el("td", {}, t(text))),
  );
  $("keys-table").replaceChildren(...rows);
  $("keys").showModal();
}
