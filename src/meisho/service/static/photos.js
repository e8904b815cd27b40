/** Photos as they are shown: of the collection by id, of the reader by the digest of an upload. */

import { address, call, Problem, show } from "./api.js";
import { here } from "./address.js";
import { el } from "./dom.js";
import { t } from "./texts.js";

/** The reader's own photos, kept in this tab, so that one the service has forgotten is sent again. */
const uploads = new Map();
/** Sizes in px of the photos seen so far: room is kept for them before they come. */
const sizes = new Map();

const named = ({ photo, query }) => (query ? `query ${query}` : `photo ${photo}`);

export const sizeOf = (which) => sizes.get(named(which));
export const noteSize = (which, width, height) => width && height && sizes.set(named(which), [width, height]);
export const nameOf = ({ photo, query }) => (photo ? photo.split("/").pop() : uploads.get(query)?.name || t("your_photo"));
export const fileOf = (query) => uploads.get(query);

export const thumbnail = ({ photo, query }, side) =>
  query ? address(`v1/queries/${query}/thumbnail`, { side }) : address("v1/thumbnail", { id: photo, side, collection: here().c });

export const full = ({ photo, query }) =>
  query ? address(`v1/queries/${query}/file`) : address("v1/file", { id: photo, collection: here().c });

/** Send a photo of the reader; the service keeps it in memory only. */
export async function upload(file, signal) {
  const made = await call("POST", "v1/queries", { body: file, signal });
  uploads.set(made.query, file);
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

/** A picture with its room kept, in its own shape; one that cannot be shown says so. */
export function picture(which, { side, alt = "", lazy = true, width, height, ...attributes } = {}) {
  const image = el("img", { alt, width, height, decoding: "async", ...attributes });
  let tried = false;
  image.addEventListener("error", async () => {
    if (uploads.has(which.query) && !tried) {
      tried = true; // once: a photo that the service has forgotten
      try {
        await upload(uploads.get(which.query));
        return show(image, `${thumbnail(which, side)}&again=1`, { lazy });
      } catch {}
    }
    image.replaceWith(el("span", { class: "none" }, t("no_picture")));
  });
  show(image, thumbnail(which, side), { lazy });
  return image;
}

/** How wide a photo is for its height, held within what a row of photos can take. */
export const shape = (width, height) => Math.min(2.4, Math.max(0.6, width && height ? width / height : 1));
