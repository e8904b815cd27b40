/** Why an answer: both photos with the points that agree, or one laid over the other. */

import { change } from "./address.js";
import { call } from "./api.js";
import { evidence, markers, verdict } from "./cards.js";
import { current } from "./collections.js";
import { $, button, el, keepFocus, setChildren, svg } from "./dom.js";
import { fromHere, full, nameOf, noteSize, remembering, showPhoto, sizeOf } from "./photos.js";
import { tell } from "./said.js";
import { t } from "./texts.js";
import { inverse, matrix3d } from "./warp.js";
import { Zoom } from "./zoom.js";

const GAP = 0.02; // of the width between both photos
const KEPT = 20;

const dialog = $("why");
const zoom = new Zoom($("stage"), $("canvas"));
const kept = new Map();
const images = new Map();
let now = null; // {state, answer, list, match}
let mode = "lines";
let share = 0.5;

const leave = () => change({ why: "" }, { replace: true });
$("why-close").addEventListener("click", leave);
dialog.addEventListener("cancel", (event) => (event.preventDefault(), leave()));
dialog.addEventListener("close", () => now && !dialog.open && leave()); // a browser may close it all the same
dialog.addEventListener("click", ({ target }) => target === dialog && leave());
new ResizeObserver(() => now && draw()).observe($("stage"));

/** The id of the answer that is shown. */
export const shown = () => now?.answer.id;

/** Go to the answer before (-1) or after (1) the one shown. */
export function step(way) {
  const at = now.list.findIndex(({ id }) => id === now.answer.id) + way;
  if (now.list[at]) change({ why: now.list[at].id }, { replace: true });
}

export function close() {
  now = null;
  dialog.close();
}

/** The answers are others, or in another order, than when the dialog was opened. */
export function relist(list) {
  if (!now) return;
  now.list = list;
  now.answer = list.find(({ id }) => id === now.answer.id) || now.answer;
  refresh();
}

/** Open the dialog, or change it to the answer that the address names. */
export async function show(state, list, signal) {
  const answer = list.find(({ id }) => id === state.why) || { id: state.why, name: nameOf({ photo: state.why }) };
  const mine = (now = { state, answer, list, match: kept.get(matchKey(state)) });
  if (!dialog.open) dialog.showModal();
  zoom.reset();
  refresh();
  if (mine.match || !current().local) return;
  try {
    mine.match = await ask(state, signal);
    refresh();
  } catch (error) {
    if (signal.aborted) return;
    leave();
    tell(error);
  }
}

const matchKey = ({ c, query, photo, box, why }) => JSON.stringify([c, current().version, query, photo, box, why]);

async function ask(state, signal) {
  const { c: collection, query, photo, box, why } = state;
  const json = { ...(query ? { query } : { photo }), answer: why, ...(box && { box }), ...(collection && { collection }) };
  const match = await remembering(state, () => call("POST", "v1/match", { json, signal }), signal);
  noteSize({ photo: why }, ...match.photo_size_px);
  noteSize(query ? { query } : { photo }, ...match.query_size_px);
  kept.set(matchKey(state), match);
  if (kept.size > KEPT) kept.delete(kept.keys().next().value);
  return match;
}

export function refresh() {
  if (!now) return;
  const { answer, match } = now;
  $("why-title").replaceChildren(verdict(match || answer) || answer.name);
  const facts = match ? [answer.name, evidence(match), match.matches && t("of_matches", { n: match.matches })] : [answer.name, t(current().local ? "comparing" : "no_local")];
  $("why-facts").textContent = facts.filter(Boolean).join(" · ");
  dialog.classList.toggle("waiting", !match && Boolean(current().local));
  keepFocus($("why-does"), tools);
  draw();
}

const homography = () => now.match?.H_query_to_photo;

function tools() {
  const { answer, match, list } = now;
  const at = list.findIndex(({ id }) => id === answer.id);
  const modes = ["lines", "overlay"].filter((name) => name === "lines" || homography());
  if (!modes.includes(mode) && match) mode = "lines";
  const does = (name, label, run, off) => button({ icon: name, label: t(label), class: "plain", disabled: off }, run);
  setChildren($("why-does"), [
    el("div", { class: "does" },
      does("back", "previous", () => step(-1), at < 1),
      does("next", "following", () => step(1), at < 0 || at === list.length - 1),
      el("div", { class: "choice", role: "group", "aria-label": t("how_shown") },
        modes.length > 1 && modes.map((name) => button({ text: t(`show_${name}`), "aria-pressed": String(mode === name) }, () => setMode(name)))),
      mode === "overlay" && slider()),
    el("div", { class: "does" },
      markers(answer),
      does("minus", "zoom_out", () => zoom.by(1 / 1.4)), does("plus", "zoom_in", () => zoom.by(1.4)), does("fit", "zoom_fit", () => zoom.reset()),
      button({ icon: "search", text: t("from_here"), label: t("from_here"), class: "plain from" }, fromHere(answer.id))),
  ]);
}

function slider() {
  const fade = ({ target }) => {
    share = Number(target.value);
    $("canvas").style.setProperty("--share", share);
  };
  return el("label", { class: "fade" }, el("span", {}, t("query")),
    el("input", { type: "range", min: 0, max: 1, step: 0.01, value: share, "aria-label": t("fade"), on: { input: fade } }), el("span", {}, t("answer")));
}

function setMode(name) {
  if (name === "overlay" && !homography()) return;
  mode = name;
  zoom.reset();
  refresh();
}

export const toggleMode = () => setMode(mode === "lines" ? "overlay" : "lines");

const query = ({ query, photo }) => (query ? { query } : { photo });

/** A photo on the canvas, at px of CSS; it is fetched once, however often it is placed anew. */
function placed(which, [left, top, width, height], name) {
  const [key, url] = [`${name} ${document.documentElement.lang}`, full(which)];
  let image = images.get(key);
  if (image?.dataset.of !== url) {
    image = el("img", { class: name, alt: nameOf(which), data: { of: url } });
    images.set(key, image);
    showPhoto(image, which, url, false, () => images.delete(key)); // asked for again when it is placed anew
  }
  const place = { left, top, width, height };
  for (const [side, value] of Object.entries(place)) image.style[side] = `${value}px`;
  image.style.transform = "";
  return image;
}

function draw() {
  const [asked, answer] = [query(now.state), { photo: now.answer.id }];
  const sizes = [sizeOf(asked) || [4, 3], sizeOf(answer) || [4, 3]];
  const room = [$("stage").clientWidth, $("stage").clientHeight];
  if (!room[0]) return;
  setChildren($("canvas"), mode === "overlay" && homography() ? overlay(asked, answer, sizes, room) : sideBySide(asked, answer, sizes, room));
}

/** Both photos beside each other, or below each other where that makes them larger. */
function sideBySide(asked, answer, [[wq, hq], [wp, hp]], [width, height]) {
  const gap = GAP * width;
  const tall = Math.min(height, (width - gap) / (wq / hq + wp / hp)); // the height of both, side by side
  const wide = Math.min(width, (height - gap) / (hq / wq + hp / wp)); // the width of both, one below the other
  const beside = tall * (wq / hq) * tall >= wide * (hq / wq) * wide;
  const [kq, kp] = beside ? [tall / hq, tall / hp] : [wide / wq, wide / wp];
  const [left, top] = beside ? [(width - gap - wq * kq - wp * kp) / 2, (height - tall) / 2] : [(width - wide) / 2, (height - gap - hq * kq - hp * kp) / 2];
  const at = [[left, top, wq * kq, hq * kq], beside ? [left + wq * kq + gap, top, wp * kp, hp * kp] : [left, top + hq * kq + gap, wp * kp, hp * kp]];
  const lines = (now.match?.lines || []).map(([xq, yq, xp, yp]) => [at[0][0] + (xq + 0.5) * kq, at[0][1] + (yq + 0.5) * kq, at[1][0] + (xp + 0.5) * kp, at[1][1] + (yp + 0.5) * kp]);
  return [placed(asked, at[0], "asked"), placed(answer, at[1], "answer"), region(at[0], kq), now.match && drawing(lines, width, height)];
}

/** The lines, coloured by where they begin, so that a bundle can be followed. */
function drawing(lines, width, height) {
  const ys = lines.map((line) => line[1]);
  const [least, most] = [Math.min(...ys), Math.max(...ys)];
  const hue = (y) => 170 + 150 * ((y - least) / (most - least || 1));
  return svg("svg", { class: "lines", viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": t("lines_said", { n: lines.length }) },
    lines.map(([x1, y1, x2, y2]) => svg("g", { css: { "--hue": hue(y1) } },
      svg("line", { x1, y1, x2, y2 }), svg("circle", { cx: x1, cy: y1, r: 2.5 }), svg("circle", { cx: x2, cy: y2, r: 2.5 }))));
}

function region([left, top], scale) {
  const box = now.state.box?.split(",").map((value) => Number(value) * scale);
  return box && el("div", { class: "searched", css: { left: `${left + box[0]}px`, top: `${top + box[1]}px`, width: `${box[2] - box[0]}px`, height: `${box[3] - box[1]}px` } });
}

/** The answer laid over the query by the homography. */
function overlay(asked, answer, [[wq, hq], [wp, hp]], [width, height]) {
  const scale = Math.min(width / wq, height / hq);
  const sheet = el("div", { class: "sheet", css: { left: `${(width - wq * scale) / 2}px`, top: `${(height - hq * scale) / 2}px`, width: `${wq * scale}px`, height: `${hq * scale}px` } },
    placed(asked, [0, 0, wq * scale, hq * scale], "asked"),
    placed(answer, [0, 0, wp * scale, hp * scale], "answer"));
  sheet.lastChild.style.transform = matrix3d(inverse(homography()), scale);
  $("canvas").style.setProperty("--share", share);
  return [sheet];
}
