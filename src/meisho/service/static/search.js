/** Search: the query at the side, its answers as they come. First by likeness, then as geometry orders them. */

import { ask, boxOf, change, FILTERS, format, go, here, staying } from "./address.js";
import { call, download, get, has, loaded } from "./api.js";
import { Box } from "./box.js";
import { cardOf } from "./cards.js";
import { current, loadCollections, mayChange } from "./collections.js";
import { $, button, el, glide, icon, setChildren } from "./dom.js";
import { canMark, countMarks, countSame, loadMarks, onMark, toggle } from "./feedback.js";
import { showFilters } from "./filters.js";
import { fileNameOf, nameOf, noteSize, picture, remembering, sizeOf } from "./photos.js";
import { busy, once, say, tell, telling } from "./said.js";
import { number, t } from "./texts.js";

const TOP = 24;
const VERIFY = 20; // answers that geometry is asked about, where the collection has local features
const KEPT = 30; // searches kept, so that Back shows them at once
const EXPORTS = ["json", "csv", "html"];

const kept = new Map();
const cards = new Map();
let painted = null; // the search that is whole on the screen
let going = null; // the search under way
let found = null; // {reply, state} of the answers on the screen
let inOrder = []; // these answers as they stand there
let why = null; // the module of the dialog, once it was needed

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

const screenOf = (state) => `${keyOf(state)} ${document.documentElement.lang}`;

/** Show the search of `state`; one that is under way already goes on, whatever of its answers is looked at meanwhile. */
export async function showSearch(state, signal) {
  if (!state.why) why?.close();
  const screen = screenOf(state);
  if (painted !== screen && going?.screen !== screen) begin(state, screen);
  if (!inOrder.some(({ id }) => id === state.why)) await going?.whole;
  signal.throwIfAborted();
  await Promise.all([going?.whole, state.why && explain(state, signal)]);
}

async function explain(state, signal) {
  why ??= await loaded(import("./why.js"));
  signal.throwIfAborted();
  await why.show(state, inOrder, signal);
}

function stop() {
  going?.controller.abort();
  going = null;
  busy("search", false);
}

/** Give up the search under way, and close what it had opened. */
export function leave() {
  stop();
  why?.close();
}

function begin(state, screen) {
  stop();
  painted = null;
  const mine = (going = { screen, controller: new AbortController() });
  mine.whole = run(state, mine.controller.signal).then(() => (painted = screenOf(state))).finally(() => going === mine && (going = null));
}

async function run(state, signal) {
  showAsked(state, signal);
  const before = kept.get(keyOf(state));
  try {
    await (before ? showKept(before, state, signal) : search(state, signal));
  } catch (error) {
    if (!signal.aborted) giveUp();
    throw error;
  }
}

async function showKept(reply, state, signal) {
  const marks = loadMarks(state, signal);
  paint(reply, state);
  await marks;
  paint(found.reply, state); // it may have grown meanwhile
}

async function search(state, signal) {
  $("answers").classList.add("stale");
  $("more").hidden = true; // it belongs to the answers before
  $("found-title").textContent ||= t("searching");
  const started = performance.now();
  const asked = async (verify) => {
    const reply = await remembering(state, () => call("POST", "v1/search", { json: request(state, verify), signal }), signal);
    if (reply.version !== current().version) await loadCollections(signal); // it has changed meanwhile
    return reply;
  };
  let [reply] = await Promise.all([asked(0), loadMarks(state, signal)]);
  const seconds = (performance.now() - started) / 1000;
  reply = { ...reply, seconds };
  const verify = depth(state);
  const checking = Boolean(verify && reply.answers.length);
  paint(reply, state, checking);
  if (checking) {
    reply = { ...(await asked(verify)), seconds };
    glide([...cards.values()], () => paint(reply, state));
  }
  keep(keyOf(state), reply);
  say($("found-title").textContent);
}

/** What failed on the way leaves the answers that are there. */
function giveUp() {
  $("answers").classList.remove("stale");
  busy("search", false);
  if (found) showHead(found.reply, found.state);
  else $("found-title").textContent = "";
}

const whichOf = ({ query, photo }) => (query ? { query } : { photo });

/** The query at the side; its room is kept before its picture comes. */
function showAsked(state, signal) {
  const which = whichOf(state);
  const name = nameOf(which);
  const of = format({ ...which, c: current().name });
  if ($("frame").dataset.of !== of) {
    const image = picture(which, { side: 960, alt: t("query_photo", { name }), lazy: false });
    $("frame").querySelector("img, .none")?.remove();
    $("frame").prepend(image);
    $("frame").dataset.of = of;
    box.forget();
    cards.clear();
    [found, inOrder] = [null, []];
    for (const id of ["lists", "found-title", "found-facts", "found-does", "asked-facts"]) $(id).replaceChildren();
    $("export").hidden = true;
  }
  $("asked-name").textContent = name;
  showSize(which, state);
  setChildren($("asked-does"), [
    state.box && button({ icon: "close", text: t("box_clear") }, () => box.clear()),
    button({ icon: "photo", text: t("new_photo"), data: { open: "file" } }),
    state.query && mayChange("/v1/photos/{id}", "put") && button({ icon: "plus", text: t("add_photo") }, once(() => addPhoto(state))),
    state.photo && mayChange("/v1/photos/{id}", "delete") && button({ icon: "bin", text: t("remove_photo"), class: "plain" }, once(() => removePhoto(state))),
  ]);
  showFilters(state, signal).catch(tell);
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
  const [name, stays] = [fileNameOf(query), staying()];
  const { id } = await remembering({ query }, () => call("PUT", pathOf(name), { params: { query, collection: c } }));
  await loadCollections();
  say(t("added", { id }));
  if (stays()) ask({ photo: id });
}

async function removePhoto({ photo, c }) {
  const stays = staying();
  if (!confirm(t("remove_sure", { name: photo }))) return;
  await call("DELETE", pathOf(photo), { params: { collection: c } });
  await loadCollections();
  if (stays()) go({ c });
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
  found = { reply, state };
  const which = whichOf(state);
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
  busy("search", checking);
  why?.relist(inOrder);
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

function showHead(reply, state, checking = false) {
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
      once(() => download("labels.csv", "GET", "v1/feedback/export", { params: { format: "labels.csv", collection: state.c } }))),
  ]);
}

onMark((id) => {
  for (const key of kept.keys()) if (key.includes("marked=")) kept.delete(key); // it was found by other marks
  const answer = inOrder.find((answer) => answer.id === id);
  if (answer) cardOf(answer, cards.get(id));
  if (found) showMarked(found.state);
  why?.refresh();
});

function showExport({ answers }, state) {
  $("export").hidden = !answers.length || !has("/v1/search/export", "post");
  setChildren($("export"), [el("span", {}, icon("save"), t("export")), ...EXPORTS.map((format) =>
    button({ text: t(`export_${format}`), class: "plain" },
      once(() => download(`answers.${format}`, "POST", "v1/search/export", { params: { format }, json: request(state, depth(state)) }))))]);
}

/** The next page of answers, under those that are there; only kept where others have come meanwhile. */
$("more").addEventListener("click", once(async () => {
  const { reply, state } = found;
  const key = keyOf(state);
  const page = await get("v1/answers", { cursor: reply.next, collection: state.c });
  const grown = { ...reply, answers: [...reply.answers, ...page.answers], next: page.next };
  keep(key, grown);
  if (found?.reply === reply) paint(grown, found.state);
}));

const answerAt = () => why?.shown() || document.activeElement.closest?.("#lists .card")?.dataset.id;

/** What the keys do in a search; each is false where it does not apply. */
export const keys = {
  step: (way) => Boolean(why?.shown()) && (why.step(way), true),
  fromHere: () => Boolean(answerAt()) && (ask({ photo: answerAt() }), true),
  mark: (same) => Boolean(answerAt() && canMark()) && (telling(() => toggle(answerAt(), same))(), true),
  toBox: () => !$("found").hidden && !why?.shown() && ($("frame").focus(), true),
  mode: () => Boolean(why?.shown()) && (why.toggleMode(), true),
};
