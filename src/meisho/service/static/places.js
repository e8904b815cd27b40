/** Places: photos that verified pairs join, the biggest first; one place, with all its photos. */

import { change, here } from "./address.js";
import { call, download, get, has } from "./api.js";
import { mayChange } from "./collections.js";
import { button, el } from "./dom.js";
import { startJob } from "./jobs.js";
import { picture, pickOf } from "./photos.js";
import { once, say } from "./said.js";
import { moment, t } from "./texts.js";

const AT_ONCE = 60;

function tile(place) {
  const { id, cover, size } = place;
  const item = el("li", { data: { id } });
  item.append(el("button", { type: "button", class: "photo", "aria-label": t("place_title", { n: size }), on: { click: () => change({ view: "places", id }) } }, picture({ photo: cover }, { side: 480 })),
    el("div", { class: "line" }, el("span", { class: "small" }, t("photos", { n: size })), dismisser("place", place, item)));
  return item;
}

const saves = () => has("/v1/places/export") && ["json", "csv"].map((format) =>
  button({ icon: "save", text: t(`export_${format}`), class: "plain" }, once(() => download(`places.${format}`, "GET", "v1/places/export", { params: { format, collection: here().c } }))));

/** A button that finds the places (again), where this build and this reader may. */
export const finding = (text) => mayChange("/v1/jobs", "post") && button({ icon: "search", text: t(text) }, once(() => startJob("groups")));

/** A button that shows what was dismissed too, or no longer. */
export const withDismissed = (hidden) => mayChange("/v1/dismissals", "put") &&
  button({ text: t("show_dismissed"), class: "plain", "aria-pressed": String(Boolean(hidden)) }, () => change({ hidden: hidden ? "" : "1" }));

/** A button that lets a place or a group of duplicates not be shown again, or be shown; `card` shows which. */
export function dismisser(kind, group, card) {
  if (!mayChange("/v1/dismissals", "put")) return null;
  const label = el("span", {});
  const it = el("button", { type: "button", class: "dismiss plain", on: { click: once(dismiss) } }, label);
  function fill() {
    card.classList.toggle("dismissed", group.dismissed);
    label.textContent = group.dismissed ? t("dismiss_undo") : t(`dismiss_${kind}`);
  }
  async function dismiss() {
    const dismissed = !group.dismissed;
    await call("PUT", "v1/dismissals", { json: { kind, id: group.id, dismissed, collection: here().c } });
    group.dismissed = dismissed;
    fill();
    say(t(dismissed ? "dismissed" : "dismissed_not"));
  }
  fill();
  return it;
}

/** A list that grows by `page(cursor)`, which gives [elements, next cursor]. */
export async function growing(list, text, page) {
  const more = button({ text: t(text), class: "wide" }, once(add));
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

async function showPlaces({ c, hidden }, root, signal) {
  let first;
  const list = await growing(el("ol", { class: "tiles" }), "more_places", async (cursor) => {
    const page = await get("v1/places", { collection: c, limit: AT_ONCE, cursor, dismissed: hidden && true }, signal);
    first ||= page;
    return [page.places.map(tile), page.next];
  });
  const { made_at: at, stale } = first;
  const lead = !at ? t("places_none") : stale ? t("places_stale", { at: moment(at) }) : t("places_made", { at: moment(at) });
  root.replaceChildren(el("h1", {}, t("view_places")), el("p", { class: "soft" }, lead),
    el("div", { class: "does" }, !at ? finding("find_places") : stale && finding("find_places_again"), at && [saves(), withDismissed(hidden)].flat()), ...list);
}

async function showPlace({ c, id }, root, signal) {
  const place = await get(`v1/places/${encodeURIComponent(id)}`, { collection: c }, signal);
  const photos = el("ol", { class: "rows" }, place.details.map((photo) => pickOf(photo)));
  root.replaceChildren(
    el("p", {}, el("a", { href: "#view=places" }, `← ${t("view_places")}`)),
    el("div", { class: "bar" }, el("h1", {}, t("place_title", { n: place.details.length })), dismisser("place", place, photos)),
    el("p", { class: "soft" }, t("place_lead")), photos);
}
