/** Duplicates: the same photo kept twice, and near copies; what was dismissed stays dismissed. */

import { change } from "./address.js";
import { call, get, has } from "./api.js";
import { pickOf } from "./cards.js";
import { button, el } from "./dom.js";
import { finding, growing } from "./places.js";
import { say, telling } from "./said.js";
import { t } from "./texts.js";

const AT_ONCE = 40;

function groupOf(group, collection) {
  const { id, kind, photos } = group;
  const card = el("section", { class: "group", data: { id } });
  const dismiss = telling(async () => {
    group.dismissed = !group.dismissed;
    await call("PUT", "v1/dismissals", { json: { kind: "duplicate", id, dismissed: group.dismissed, collection } });
    fill();
    say(t(group.dismissed ? "dismissed" : "dismissed_not"));
    card.querySelector(".dismiss").focus();
  });
  function fill() {
    card.classList.toggle("dismissed", Boolean(group.dismissed));
    card.replaceChildren(
      el("div", { class: "bar" }, el("h2", {}, t(`duplicates_${kind}`, { n: photos.length })),
        has("/v1/dismissals", "put") && button({ text: t(group.dismissed ? "dismiss_undo" : "dismiss"), class: "dismiss" }, dismiss)),
      el("ol", { class: "rows small-rows" }, photos.map((photo) => {
        const item = pickOf(photo);
        item.append(el("div", { class: "about name", title: photo.id }, photo.id));
        return item;
      })));
  }
  fill();
  return card;
}

export async function show({ c, hidden }, root, signal) {
  let none = false;
  const list = await growing(el("div", {}), "more_duplicates", async (cursor) => {
    const { groups, next } = await get("v1/duplicates", { collection: c, limit: AT_ONCE, cursor, dismissed: hidden && true }, signal);
    none ||= !cursor && !groups.length;
    return [groups.map((group) => groupOf(group, c)), next];
  });
  root.replaceChildren(el("h1", {}, t("view_duplicates")), el("p", { class: "soft" }, t(none ? "duplicates_none" : "duplicates_lead")), 
    el("div", { class: "does" }, ...[none && finding("find_places"), has("/v1/dismissals", "put") && button({ text: t("show_dismissed"), "aria-pressed": String(Boolean(hidden)) }, () => change({ hidden: hidden ? "" : "1" }))].filter(Boolean)), ...list);
}
