/** Where the page begins: texts, collections, then the view that the address names. */

import { ask, here } from "./address.js";
import { has, learnRoutes, takeToken } from "./api.js";
import { current, loadCollections } from "./collections.js";
import { $, el } from "./dom.js";
import { mark, canMark, markOf } from "./feedback.js";
import { bind, mention, showKeys } from "./keys.js";
import { upload } from "./photos.js";
import { clearProblem, say, tell, telling } from "./said.js";
import { showSearch } from "./search.js";
import { showStart } from "./start.js";
import { choose, language, LANGUAGES, load, t } from "./texts.js";
import { refreshTools, step, toggleMode, whyOpen } from "./why.js";

/** The views beside search, each with the route that it needs and the module that shows it. */
const VIEWS = {
  places: { route: "/v1/places", module: "./places.js" },
  duplicates: { route: "/v1/duplicates", module: "./duplicates.js" },
  evaluations: { route: "/v1/evaluations", module: "./evaluations.js" },
  jobs: { route: "/v1/jobs", module: "./jobs.js" },
};

let running = new AbortController();
let last = "";

/** Show one section alone; a step to another one begins at its top. */
function only(id) {
  for (const section of document.querySelectorAll(".view")) section.hidden = section.id !== id;
  if (id !== last && last) {
    scrollTo(0, 0);
    $("main").focus({ preventScroll: true });
  }
  last = id;
}

async function render() {
  running.abort(new DOMException("left", "AbortError"));
  running = new AbortController();
  const { signal } = running;
  const state = here();
  const view = has(VIEWS[state.view]?.route) ? state.view : "search";
  clearProblem();
  $("busy").hidden = true;
  $("collection").value = current().name;
  for (const link of document.querySelectorAll("nav a"))
    if (link.dataset.view === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  const title = view === "search" ? "" : `${t(`view_${view}`)} · `;
  document.title = `${title}${current().name} · meisho`;
  try {
    if (view !== "search") {
      only("other");
      const { show } = await import(VIEWS[view].module);
      if (!signal.aborted) await show(state, $("other"), signal);
    } else if (state.photo || state.query) {
      only("found");
      await showSearch(state, signal);
    } else {
      only("start");
      await showStart(state, signal);
    }
    if (!signal.aborted) document.body.dataset.shown = location.hash || "#";
  } catch (error) {
    if (error.name !== "AbortError") $("answers").classList.remove("stale");
    tell(error);
  }
}

/** A photo of the reader, from wherever it came: one way for all. */
const open = telling(async (files) => {
  const [file] = files;
  if (!file) return;
  clearProblem();
  $("busy").hidden = false;
  say(t("reading", { name: file.name }));
  try {
    const { query } = await upload(file);
    ask({ query });
  } finally {
    $("busy").hidden = true;
  }
});

const dragged = (event) => event.dataTransfer?.types.includes("Files");

function bindDoors() {
  for (const id of ["file", "camera"])
    $(id).addEventListener("change", ({ target }) => {
      open([...target.files]);
      target.value = "";
    });
  document.addEventListener("click", ({ target }) => {
    const door = target.closest("[data-open]");
    if (door) $(door.dataset.open).click();
  });
  addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files || [])];
    if (files.length) {
      event.preventDefault();
      open(files);
    }
  });
  addEventListener("dragover", (event) => {
    if (!dragged(event)) return;
    event.preventDefault();
    $("drop").hidden = false;
  });
  addEventListener("dragleave", (event) => event.relatedTarget || ($("drop").hidden = true));
  addEventListener("drop", (event) => {
    if (!dragged(event)) return;
    event.preventDefault();
    $("drop").hidden = true;
    open([...event.dataTransfer.files]);
  });
}

const photosShown = () => [...document.querySelectorAll(".view:not([hidden]) .card .photo")];
const answerAt = () => whyOpen() || document.activeElement.closest?.("#lists .card")?.dataset.id;

function move(way) {
  if (whyOpen()) return step(way);
  const photos = photosShown();
  if (!photos.length) return false;
  const at = photos.indexOf(document.activeElement.closest?.(".card")?.querySelector(".photo"));
  const next = photos[at < 0 ? 0 : at + way];
  next?.focus();
  next?.scrollIntoView({ block: "nearest" });
}

function markHere(same) {
  const id = answerAt();
  if (!id || !canMark()) return false;
  telling(async () => (await mark(id, markOf(id) === same ? null : same), refreshTools()))();
}

function bindKeys() {
  bind(["o"], "key_open", () => $("file").click());
  mention(["Ctrl V"], "key_paste");
  bind(["j", "ArrowRight"], "key_next", () => move(1));
  bind(["k", "ArrowLeft"], "key_previous", () => move(-1));
  mention(["Enter"], "key_why");
  bind(["s"], "key_from_here", () => (answerAt() ? ask({ photo: answerAt() }) : false));
  bind(["y"], "key_same", () => markHere(true));
  bind(["n"], "key_other", () => markHere(false));
  bind(["b"], "key_box", () => ($("found").hidden || whyOpen() ? false : $("frame").focus()));
  mention(["←", "↑", "→", "↓"], "key_box_move");
  mention(["Shift ←↑→↓"], "key_box_size");
  mention(["Esc"], "key_box_clear");
  bind(["v"], "key_mode", () => (whyOpen() ? toggleMode() : false));
  mention(["+", "-", "0"], "key_zoom");
  bind(["Backspace"], "key_back", () => history.back());
  bind(["?"], "keys", showKeys);
}

function bindTools() {
  $("help").addEventListener("click", showKeys);
  const select = $("language");
  select.append(...Object.entries(LANGUAGES).map(([code, name]) => el("option", { value: code, lang: code }, name)));
  select.value = language;
  select.addEventListener("change", telling(async () => {
    await choose(select.value);
    await render();
  }));
}

/** Texts first, so that the page can be seen; then what it needs of the service. */
async function begin() {
  takeToken();
  const ready = Promise.all([loadCollections(), learnRoutes()]);
  ready.catch(() => {}); // told below, when there are texts to tell it in
  await load();
  document.body.classList.remove("early");
  const { photo, query, view } = here();
  if (!photo && !query && !view) only("start");
  try {
    await ready;
  } catch (error) {
    return tell(error);
  }
  bindTools();
  bindDoors();
  bindKeys();
  for (const [view, { route }] of Object.entries(VIEWS)) document.querySelector(`nav [data-view=${view}]`).hidden = !has(route);
  document.querySelector("nav").hidden = !Object.values(VIEWS).some(({ route }) => has(route));
  addEventListener("hashchange", render);
  await render();
}

begin();
