/** The first screen: open a photo, or begin with one of the collection's. */

import { here } from "./address.js";
import { get } from "./api.js";
import { pickOf } from "./cards.js";
import { current } from "./collections.js";
import { $, el } from "./dom.js";
import { telling } from "./said.js";
import { t } from "./texts.js";

const AT_ONCE = 40;
const EAGER = 16;
let next = null;
let shown = null;

const page = (signal) => get("v1/photos", { collection: here().c, folder: $("picks-folder").value, limit: AT_ONCE, cursor: next }, signal);

/** Add the next photos; those that a later choice has made stale are left out. */
async function more(signal) {
  const folder = $("picks-folder").value;
  const { photos, next: following } = await page(signal);
  if (folder !== $("picks-folder").value) return;
  const before = $("picks").children.length;
  $("picks").append(...photos.map((photo, at) => pickOf(photo, undefined, before + at >= EAGER)));
  next = following;
  $("picks-more").hidden = !next;
}

async function begin(signal) {
  next = null;
  $("picks").replaceChildren();
  await more(signal);
}

export function fillFolders(select, chosen = "") {
  const { folders } = current();
  select.replaceChildren(el("option", { value: "" }, t("all_folders")), ...folders.map((name) => el("option", { value: name }, name)));
  select.value = chosen;
  select.hidden = folders.length < 2;
}

$("picks-more").addEventListener("click", telling(() => more()));
$("picks-folder").addEventListener("change", telling(() => begin()));

export async function showStart(state, signal) {
  const { name, num_photos: n, version } = current();
  $("picks-title").textContent = t(n ? "picks_title" : "picks_none", { n, name });
  if (shown === `${name} ${version} ${document.documentElement.lang}`) return;
  fillFolders($("picks-folder"));
  await begin(signal);
  shown = `${name} ${version} ${document.documentElement.lang}`;
}
