/** Search: the query at the side, its answers as they come. First by likeness, then as geometry orders them. */

import { ask, boxOf, change, FILTERS, format, here } from "./address.js";
import { call, download, get, has } from "./api.js";
import { Box } from "./box.js";
import { cardOf } from "./cards.js";
import { current, loadCollections } from "./collections.js";
import { $, button, el, glide, icon, setChildren } from "./dom.js";
import { countMarks, countSame, loadMarks, onMark } from "./feedback.js";
import { showFilters } from "./filters.js";
import { fileOf, nameOf, noteSize, picture, remembering, sizeOf } from "./photos.js";
import { say, tell, telling } from "./said.js";
import { number, t } from "./texts.js";
import { showWhy } from "./why.js";

const TOP = 24;
const VERIFY = 20; // answers that geometry is asked about, where the collection has local features
const KEPT = 30; // searches kept, so that Back shows them at once
const EXPORTS = ["json", "csv", "html"];

const kept = new Map();
const cards = new Map();
let painted = null; // the search on the screen
let found = null;
let inOrder = []; // its answers as they stand on the screen

const box = new Box($("frame"), (px) => change({ box: px ? px.join(",") : "" }));

/** The request of a state, as the service wants it. */
export function request(state, verify = 0) {
  const { photo, query, c: collection, marked } = state;
  const filters = Object.fromEntries(["box", ...FILTERS].filter((key) => state[key]).map((key) => [key, state[key]]));
  const top = Number(state.top) || TOP;
  return { ...(query ? { query } : { photo }), ...filters, ...(collection && { collection }), ...(marked && { marked: true }), top, verify };
}

const depth = (state) => (current().local ? Number(state.verify) || VERIFY : 0);

const keyOf = (state) => `${current().name} ${current().version} ${format({ ...state, why: "", view: "" })}`;

function keep(key, value) {
  kept.delete(key);
  kept.set(key, value);
  if (kept.size > KEPT) kept.delete(kept.keys().next().value);
}

export async function showSearch(state, signal) {
  const key = keyOf(state);
  const language = document.documentElement.lang;
  if (painted !== `${key} ${language}`) {
    painted = null; // until this one is whole: it may be left on the way, and the one before asked for again
    showAsked(state);
    if (kept.has(key)) {
      await loadMarks(state, signal);
      paint(kept.get(key), state);
    } else await search(state, signal);
    painted = `${keyOf(state)} ${language}`;
  }
  await showWhy(state, inOrder, signal);
}

async function search(state, signal) {
  $("answers").classList.add("stale");
  $("found-title").textContent ||= t("searching");
  const started = performance.now();
  const asked = (verify) => remembering(state, () => call("POST", "v1/search", { json: request(state, verify), signal }), signal);
  let [reply] = await Promise.all([asked(0), loadMarks(state, signal)]);
  reply.seconds = (performance.now() - started) / 1000;
  if (reply.version !== current().version) await loadCollections(signal); // it has changed meanwhile
  const verify = depth(state);
  paint(reply, state, Boolean(verify && reply.answers.length));
  if (verify && reply.answers.length) {
    const { seconds } = reply;
    reply = { ...(await asked(verify)), seconds };
    glide([...cards.values()], () => paint(reply, state));
  }
  keep(keyOf(state), reply);
  say($("found-title").textContent);
}

/** The query at the side; its room is kept before its picture comes. */
function showAsked(state) {
  const which = state.query ? { query: state.query } : { photo: state.photo };
  const name = nameOf(which);
  if ($("frame").dataset.of !== format(which)) {
    const image = picture(which, { side: 960, alt: t("query_photo", { name }), lazy: false });
    $("frame").querySelector("img, .none")?.remove();
    $("frame").prepend(image);
    $("frame").dataset.of = format(which);
    cards.clear();
    setChildren($("lists"), []);
    for (const id of ["found-title", "found-facts"]) $(id).textContent = "";
    setChildren($("found-does"), []);
  }
  $("asked-name").textContent = name;
  showSize(which, state);
  setChildren($("asked-does"), [
    state.box && button({ icon: "close", text: t("box_clear") }, () => box.clear()),
    button({ icon: "photo", text: t("new_photo"), data: { open: "file" } }),
    state.query && current().writable && has("/v1/photos/{id}", "put") && fileOf(state.query) && button({ icon: "plus", text: t("add_photo") }, telling(() => addPhoto(state))),
    state.photo && current().writable && has("/v1/photos/{id}", "delete") && button({ icon: "bin", text: t("remove_photo") }, telling(() => removePhoto(state))),
  ]);
  showFilters(state).catch(tell);
}

function showSize(which, state) {
  const size = sizeOf(which);
  if (!size) return;
  const [width, height] = size;
  $("frame").style.setProperty("--shape", width / height);
  box.set(boxOf(state.box), size);
  $("asked-facts").textContent = `${number(width)} × ${number(height)}`;
}

const pathOf = (id) => `v1/photos/${id.split("/").map(encodeURIComponent).join("/")}`;

async function addPhoto({ query, c }) {
  const file = fileOf(query);
  const { id } = await call("PUT", pathOf(file.name || "photo.jpg"), { body: file, params: { collection: c } });
  await loadCollections();
  say(t("added", { id }));
  ask({ photo: id });
}

async function removePhoto({ photo, c }) {
  if (!confirm(t("remove_sure", { name: photo }))) return;
  await call("DELETE", pathOf(photo), { params: { collection: c } });
  await loadCollections();
  location.hash = "";
}

/** The answers in groups by what was found; a group without a verdict is the global list. */
function groupsOf({ answers, certain }) {
  const same = answers.filter(({ verdict }) => verdict === "same");
  const maybe = answers.filter(({ verdict }) => verdict === "maybe");
  const rest = answers.filter((answer) => !same.includes(answer) && !maybe.includes(answer));
  const groups = [["group_same", same], ["group_maybe", maybe], [same.length + maybe.length ? "group_rest" : "group_alike", rest]];
  return groups.filter(([, list]) => list.length);
}

/** Paint a reply: cards are kept and moved, groups made anew. */
function paint(reply, state, checking = false) {
  found = reply;
  const which = state.query ? { query: state.query } : { photo: state.photo };
  noteSize(which, reply.query.width_px, reply.query.height_px);
  showSize(which, state);
  const gone = new Set(cards.keys());
  for (const answer of reply.answers) {
    cards.set(answer.id, cardOf(answer, cards.get(answer.id)));
    gone.delete(answer.id);
  }
  for (const id of gone) cards.delete(id);
  const groups = groupsOf(reply);
  inOrder = groups.flatMap(([, list]) => list);
  setChildren($("lists"), groups.map(([key, list]) => {
    const group = $("lists").querySelector(`[data-group=${key}]`) || el("section", { data: { group: key } }, el("h2", {}), el("ol", { class: "rows" }));
    group.firstChild.textContent = t(key, { n: list.length });
    setChildren(group.lastChild, list.map(({ id }) => cards.get(id)));
    return group;
  }));
  showHead(reply, state, checking);
  $("answers").classList.remove("stale");
  $("busy").hidden = !checking;
}

function headline({ answers, not_here: away }, checking) {
  const same = answers.filter(({ verdict }) => verdict === "same").length;
  const maybe = answers.filter(({ verdict }) => verdict === "maybe").length;
  if (!answers.length) return t("found_none");
  if (checking) return t("checking");
  if (away) return t("not_here");
  if (same) return t("found_same", { n: same });
  if (maybe) return t("found_maybe", { n: maybe });
  return t(current().local ? "found_unsure" : "found_alike", { n: answers.length });
}

function showHead(reply, state, checking) {
  $("found-title").textContent = headline(reply, checking);
  const facts = [t("searched", { n: current().num_photos, seconds: number(reply.seconds, { maximumFractionDigits: 2 }) })];
  if (reply.not_here && !checking) facts.unshift(t("not_here_detail"));
  if (!current().local) facts.push(t("no_local"));
  $("found-facts").textContent = facts.join(" ");
  $("more").hidden = !reply.next || checking;
  showExport(reply, state);
  showMarked(state);
}

function showMarked(state) {
  const same = countSame();
  setChildren($("found-does"), [
    same > 0 && !state.marked && button({ icon: "search", text: t("from_marked", { n: same }), class: "main" }, () => change({ marked: "1", why: "" })),
    state.marked && button({ icon: "close", text: t("marked_clear") }, () => change({ marked: "" })),
    countMarks() > 0 && has("/v1/feedback/export") && button({ icon: "save", text: t("marks_save"), class: "plain" },
      telling(() => download("labels.csv", "GET", "v1/feedback/export", { params: { format: "labels.csv", collection: state.c } }))),
  ]);
}

onMark((id) => {
  const answer = found?.answers.find((answer) => answer.id === id);
  if (answer) cardOf(answer, cards.get(id));
  showMarked(here());
});

function showExport({ answers }, state) {
  $("export").hidden = !answers.length || !has("/v1/search/export", "post");
  setChildren($("export"), [el("span", {}, icon("save"), t("export")), ...EXPORTS.map((format) =>
    button({ text: t(`export_${format}`), class: "plain" },
      telling(() => download(`answers.${format}`, "POST", "v1/search/export", { params: { format }, json: request(state, depth(state)) }))))]);
}

/** The next page of answers, under those that are there. */
$("more").addEventListener("click", telling(async () => {
  const state = here();
  const page = await get("v1/answers", { cursor: found.next, collection: state.c });
  const reply = { ...found, answers: [...found.answers, ...page.answers], next: page.next };
  paint(reply, state);
  keep(keyOf(state), reply);
}));
