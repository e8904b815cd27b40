/** An answer as a card: its photo, what was found, and what can be done from it. */

import { change } from "./address.js";
import { button, el, keepFocus, setChildren } from "./dom.js";
import { canMark, markOf, toggle } from "./feedback.js";
import { fromHere, noteSize, picture, shape } from "./photos.js";
import { telling } from "./said.js";
import { chance, language, number, percent, t } from "./texts.js";

const EAGER = 12; // pictures of the first screen; the rest come as they are scrolled to

/** The verdict of an answer or a match in words, with its probability; null where nothing was compared. */
export function verdict({ verdict, probability }) {
  if (!verdict) return null;
  const share = probability == null ? "" : chance(probability);
  return el("span", { class: `verdict ${verdict}` }, t(`verdict_${verdict}`), share && el("b", {}, share));
}

/** What an answer's geometry says: inliers, and how much of both photos they cover. */
export function evidence({ inliers, overlap_query: query, overlap_photo: photo }) {
  if (inliers == null) return "";
  const parts = [t("inliers", { n: inliers })];
  if (inliers && query != null && photo != null) parts.push(t("overlap", { query: percent(query), photo: percent(photo) }));
  return parts.join(" · ");
}

function copiesOf({ copies }) {
  if (!copies?.length) return null;
  return el("details", { class: "copies" },
    el("summary", {}, t("copies", { n: copies.length })),
    el("ul", {}, copies.map(({ id }) => el("li", {}, el("a", { href: "#", on: { click: fromHere(id) } }, id)))));
}

/** Both buttons that mark an answer, where this build and this reader may. */
export const markers = ({ id }) => canMark() && [true, false].map((same) =>
  button({ icon: same ? "yes" : "no", label: t(same ? "mark_same" : "mark_other"), class: "plain", data: { same }, "aria-pressed": String(markOf(id) === same) },
    telling(() => toggle(id, same))));

/** The controls of a card: they stay when it is painted anew, so that none goes away under a press. */
const toolsOf = (answer) => el("div", { class: "line tools", lang: language },
  button({ icon: "search", text: t("from_here"), label: t("from_here_of", answer), class: "plain from" }, fromHere(answer.id)),
  el("span", { class: "marks" }, markers(answer)));

/** The card of an answer; `card` is one made before for the same photo, which is kept where it stands. */
export function cardOf(answer, card) {
  const { id, name, rank, width_px: width, height_px: height } = answer;
  noteSize({ photo: id }, width, height);
  card ||= el("li", { class: "card", data: { id }, css: { "--shape": shape(width, height) } },
    el("button", { type: "button", class: "photo", on: { click: () => change({ why: id }) } },
      answer.missing ? el("span", { class: "none" }, t("no_picture")) : picture({ photo: id }, { side: 480, width, height, lazy: rank > EAGER })),
    el("div", { class: "about" }));
  card.firstChild.ariaLabel = t("why_of", { name });
  const score = answer.inliers == null && el("span", { class: "soft" }, t("likeness", { score: number(answer.score, { maximumFractionDigits: 2, minimumFractionDigits: 2 }) }));
  keepFocus(card.lastChild, () => setChildren(card.lastChild, [
    el("div", { class: "line" }, verdict(answer) || score, el("span", { class: "rank soft", title: t("rank", { n: rank }) }, number(rank))),
    el("div", { class: "name", title: id }, name),
    el("div", { class: "facts soft" }, evidence(answer), answer.turned ? ` · ${t("turned")}` : ""),
    card.querySelector(`.tools[lang=${language}]`) || toolsOf(answer),
    copiesOf(answer)]));
  for (const [kind, same] of [["same", true], ["other", false]]) {
    card.classList.toggle(`marked-${kind}`, markOf(id) === same);
    card.querySelectorAll(`.marks [data-same=${same}]`).forEach((marker) => (marker.ariaPressed = String(markOf(id) === same)));
  }
  return card;
}
