/** Places: photos that verified pairs join, the biggest first; one place, with all its photos. */

import { change, here } from "./address.js";
import { download, get, has } from "./api.js";
import { pickOf } from "./cards.js";
import { current } from "./collections.js";
import { button, el } from "./dom.js";
import { startJob } from "./jobs.js";
import { picture } from "./photos.js";
import { telling } from "./said.js";
import { moment, t } from "./texts.js";

const AT_ONCE = 60;

const tile = ({ id, cover, size }) =>
  el("li", {}, el("button", { type: "button", class: "photo", on: { click: () => change({ view: "places", id }) } }, picture({ photo: cover }, { side: 480 })),
    el("p", { class: "small" }, t("photos", { n: size })));

const saves = () => has("/v1/places/export") && ["json", "csv"].map((format) =>
  button({ icon: "save", text: t(`export_${format}`), class: "plain" }, telling(() => download(`places.${format}`, "GET", "v1/places/export", { params: { format, collection: here().c } }))));

/** A button that finds the places (again), where this build and this reader may. */
export const finding = (text) => has("/v1/jobs", "post") && current().writable && button({ icon: "search", text: t(text) }, telling(() => startJob("groups")));

/** A list that grows by `page(cursor)`, which gives [elements, next cursor]. */
export async function growing(list, text, page) {
  const more = button({ text: t(text), class: "wide" }, telling(add));
  let next = null;
  async function add() {
    const [elements, following] = await page(next);
    list.append(...elements);
    next = following;
    more.hidden = !next;
  }
  await add();
  return [list, more];
}

export async function show(state, root, signal) {
  return state.id ? showPlace(state, root, signal) : showPlaces(state, root, signal);
}

async function showPlaces({ c }, root, signal) {
  let first;
  const list = await growing(el("ol", { class: "tiles" }), "more_places", async (cursor) => {
    const page = await get("v1/places", { collection: c, limit: AT_ONCE, cursor }, signal);
    first ||= page;
    return [page.places.map(tile), page.next];
  });
  const { made_at: at, stale } = first;
  const lead = !at ? t("places_none") : stale ? t("places_stale", { at: moment(at) }) : t("places_made", { at: moment(at) });
  root.replaceChildren(el("h1", {}, t("view_places")), el("p", { class: "soft" }, lead),
    el("div", { class: "does" }, ...[!at ? finding("find_places") : stale && finding("find_places_again"), at && saves()].flat().filter(Boolean)), ...list);
}

async function showPlace({ c, id }, root, signal) {
  const { details } = await get(`v1/places/${encodeURIComponent(id)}`, { collection: c }, signal);
  root.replaceChildren(
    el("p", {}, el("a", { href: "#view=places" }, `← ${t("view_places")}`)),
    el("h1", {}, t("place_title", { n: details.length })),
    el("p", { class: "soft" }, t("place_lead")),
    el("ol", { class: "rows" }, details.map((photo) => pickOf(photo))));
}
