/** The first screen: open a photo, or begin with one of the collection's. */

import { here } from "./address.js";
import { get } from "./api.js";
import { current, fetches } from "./collections.js";
import { $, el } from "./dom.js";
import { pickOf } from "./photos.js";
import { once, telling } from "./said.js";
import { t } from "./texts.js";

const AT_ONCE = 40;
const EAGER = 16;
let listing = new AbortController(); // the list on the screen: what comes for another one is left out
let next = null;
let shown = null;

/** Add the next photos to the list. */
async function more() {
  const { signal } = listing;
  const { photos, next: following } = await get("v1/photos", { collection: here().c, folder: $("picks-folder").value, limit: AT_ONCE, cursor: next }, signal);
  const before = $("picks").children.length;
  $("picks").append(...photos.map((photo, at) => pickOf(photo, undefined, before + at >= EAGER)));
  next = following;
  $("picks-more").hidden = !next;
  near.unobserve($("picks-more")); // and looked at again: it may be near still
  near.observe($("picks-more"));
}

async function begin() {
  listing.abort();
  listing = new AbortController();
  next = null;
  $("picks").replaceChildren();
  $("picks-more").hidden = true;
  await more();
}

export function fillFolders(select, chosen = "") {
  const { folders } = current();
  select.replaceChildren(el("option", { value: "" }, t("all_folders")), ...folders.map((name) => el("option", { value: name }, name)));
  select.value = chosen;
  select.hidden = folders.length < 2;
}

const near = new IntersectionObserver(([{ isIntersecting }]) => isIntersecting && $("picks-more").click(), { rootMargin: "600px" });
$("picks-more").addEventListener("click", once(() => more()));
$("picks-folder").addEventListener("change", telling(() => begin()));

export async function showStart(state, signal) {
  $("by-url").hidden = !fetches;
  const { name, num_photos: n, version } = current();
  $("picks-title").textContent = t(n ? "picks_title" : "picks_none", { n, name });
  const key = `${name} ${version} ${document.documentElement.lang}`;
  if (shown === key) return;
  shown = null; // until this list is whole: it may be left on the way
  fillFolders($("picks-folder"));
  signal.addEventListener("abort", () => shown === key || listing.abort());
  await begin();
  shown = key;
}
