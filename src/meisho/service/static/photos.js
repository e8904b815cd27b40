/** Photos as they are shown: of the collection by id, of the reader by the digest of an upload. */

import { address, call, Problem, show } from "./api.js";
import { ask, here } from "./address.js";
import { fetches } from "./collections.js";
import { el } from "./dom.js";
import { t } from "./texts.js";

/** The reader's own photos, files or where they are, kept in this tab, so that one the service has forgotten is sent again. */
const uploads = new Map();
/** Sizes in px of the photos seen so far: room is kept for them before they come. */
const sizes = new Map();

const named = ({ photo, query }) => (query ? `query ${query}` : `photo ${here().c || ""} ${photo}`);

export const sizeOf = (which) => sizes.get(named(which));
export const noteSize = (which, width, height) => width && height && sizes.set(named(which), [width, height]);
export const nameOf = ({ photo, query }) => (photo ? photo.split("/").pop() : uploads.get(query)?.name || t("your_photo"));
export const fileNameOf = (query) => uploads.get(query)?.name || `${query.slice(0, 12)}.jpg`;

export const thumbnail = ({ photo, query }, side) =>
  query ? address(`v1/queries/${query}/thumbnail`, { side }) : address("v1/thumbnail", { id: photo, side, collection: here().c });

export const full = ({ photo, query }) =>
  query ? address(`v1/queries/${query}/file`) : address("v1/file", { id: photo, collection: here().c });

/** The address that a text is, and nothing else; or null. */
export function urlIn(text) {
  const word = text.trim();
  return /^https?:\/\/\S+$/i.test(word) && URL.canParse(word) ? new URL(word) : null;
}

/** A photo at an address, named as a file is; the service fetches it, this page asks no other site. */
export function photoAt(text) {
  const url = urlIn(text);
  if (!url) throw new Problem({ title: t("no_url"), remedy: t("no_url_remedy") });
  if (fetches === false) throw new Problem({ title: t("no_fetching"), remedy: t("no_fetching_remedy") });
  const last = url.pathname.split("/").pop();
  try {
    return { name: decodeURIComponent(last) || url.host, url: url.href };
  } catch {
    return { name: last, url: url.href };
  }
}

/** Send a photo of the reader, or where it is; the service keeps it in memory only. */
export async function upload(photo, signal) {
  const made = await (photo.url ? call("POST", "v1/queries/url", { json: { url: photo.url }, signal }) : call("POST", "v1/queries", { body: photo, signal }));
  uploads.set(made.query, photo);
  noteSize(made, made.width_px, made.height_px);
  return made;
}

/** Do `ask`; if the service has forgotten the reader's photo, send it again and do it once more. */
export async function remembering({ query }, ask, signal) {
  try {
    return await ask();
  } catch (problem) {
    if (!(problem instanceof Problem) || !problem.type.endsWith("query-forgotten")) throw problem;
    if (!uploads.has(query)) throw new Problem({ title: t("forgotten"), detail: t("forgotten_detail"), status: 404 });
    await upload(uploads.get(query), signal);
    return ask();
  }
}

/** Show a picture; where the service has forgotten the reader's photo it is sent again, once, before `failed`. */
export function showPhoto(image, which, url, lazy, failed) {
  let tried = false;
  image.addEventListener("error", async () => {
    if (tried || !uploads.has(which.query)) return failed();
    tried = true;
    try {
      await upload(uploads.get(which.query));
      show(image, `${url}${url.includes("?") ? "&" : "?"}again=1`, { lazy });
    } catch {
      failed();
    }
  });
  show(image, url, { lazy });
}

/** A picture with its room kept, in its own shape; one that cannot be shown says so. */
export function picture(which, { side, alt = "", lazy = true, width, height } = {}) {
  const image = el("img", { alt, width, height, decoding: "async" });
  showPhoto(image, which, thumbnail(which, side), lazy, () => image.replaceWith(el("span", { class: "none" }, t("no_picture"))));
  return image;
}

/** How wide a photo is for its height, held within what a row of photos can take. */
export const shape = (width, height) => Math.min(2.4, Math.max(0.6, width && height ? width / height : 1));

export const fromHere = (id) => (event) => {
  event.preventDefault();
  ask({ photo: id });
};

/** A stored photo to begin with, in a row of photos. */
export function pickOf({ id, name, width_px: width, height_px: height, missing }, label = t("search_with", { name }), lazy = true) {
  noteSize({ photo: id }, width, height);
  return el("li", { class: "card", data: { id }, css: { "--shape": shape(width, height) } },
    el("button", { type: "button", class: "photo", "aria-label": label, title: name, on: { click: fromHere(id) } },
      missing ? el("span", { class: "none" }, t("no_picture")) : picture({ photo: id }, { side: 240, width, height, lazy })));
}
