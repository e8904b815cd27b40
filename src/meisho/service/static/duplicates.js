/** Duplicates: the same photo kept twice, and near copies; what was dismissed stays dismissed. */

import { get } from "./api.js";
import { el } from "./dom.js";
import { pickOf } from "./photos.js";
import { dismisser, finding, growing, withDismissed } from "./places.js";
import { t } from "./texts.js";

const AT_ONCE = 40;

function groupOf(group) {
  const { id, kind, photos } = group;
  const card = el("section", { class: "group", data: { id } });
  card.append(
    el("div", { class: "bar" }, el("h2", {}, t(`duplicates_${kind}`, { n: photos.length })), dismisser("duplicate", group, card)),
    el("ol", { class: "rows small-rows" }, photos.map((photo) => {
      const item = pickOf(photo);
      item.append(el("div", { class: "about name", title: photo.id }, photo.id));
      return item;
    })));
  return card;
}

export async function show({ c, hidden }, root, signal) {
  let none = false;
  const list = await growing(el("div", {}), "more_duplicates", async (cursor) => {
    const { groups, next } = await get("v1/duplicates", { collection: c, limit: AT_ONCE, cursor, dismissed: hidden && true }, signal);
    none ||= !cursor && !groups.length;
    return [groups.map(groupOf), next];
  });
  root.replaceChildren(el("h1", {}, t("view_duplicates")), el("p", { class: "soft" }, t(none ? "duplicates_none" : "duplicates_lead")),
    el("div", { class: "does" }, none && finding("find_places"), withDismissed(hidden)), ...list);
}
