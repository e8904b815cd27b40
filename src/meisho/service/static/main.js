/** Where the page begins: texts, collections, then the view that the address names. */

import { ask, here } from "./address.js";
import { has, learnRoutes, loaded, takeToken } from "./api.js";
import { current, loadCollections } from "./collections.js";
import { $, el } from "./dom.js";
import { bind, mention, showKeys, writing } from "./keys.js";
import { photoAt, upload, urlIn } from "./photos.js";
import { busy, clearProblem, say, tell, telling } from "./said.js";
import { showStart } from "./start.js";
import { choose, language, LANGUAGES, load, t } from "./texts.js";

/** The views beside search, each with the route that it needs and the module that shows it. */
const VIEWS = {
  places: { route: "/v1/places", module: "./places.js" },
  duplicates: { route: "/v1/duplicates", module: "./duplicates.js" },
  evaluations: { route: "/v1/evaluations", module: "./evaluations.js" },
  jobs: { route: "/v1/jobs", module: "./jobs.js" },
};

let running = new AbortController();
let sending = null; // the upload under way
let search = null; // the module of the search, once it was needed
let last = "";

let styled = null;

/** The style of what stands behind the first screen. */
function style() {
  styled ??= new Promise((load, error) => document.head.append(el("link", { rel: "stylesheet", href: "static/views.css", on: { load, error } })));
  styled.catch(() => (styled = null)); // asked for again at the next step
  return styled;
}

/** A module behind the first screen, with its style. */
const behind = async (module) => (await loaded(Promise.all([import(module), style()])))[0];

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
  running.abort();
  running = new AbortController();
  const { signal } = running;
  const [state, hash] = [here(), location.hash || "#"];
  const view = has(VIEWS[state.view]?.route) ? state.view : "search";
  delete document.body.dataset.shown;
  clearProblem();
  $("collection").value = current().name;
  for (const link of document.querySelectorAll("nav a"))
    if (link.dataset.view === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  const title = view === "search" ? "" : `${t(`view_${view}`)} · `;
  document.title = `${title}${current().name} · meisho`;
  try {
    await showView(view, state, signal);
    if (!signal.aborted) document.body.dataset.shown = hash;
  } catch (error) {
    if (!signal.aborted) await tell(error);
  }
}

async function showView(view, state, signal) {
  if (view === "search" && (state.photo || state.query)) {
    search ??= await behind("./search.js");
    signal.throwIfAborted();
    only("found");
    return search.showSearch(state, signal);
  }
  search?.leave();
  if (view === "search") {
    only("start");
    return showStart(state, signal);
  }
  const { show } = await behind(VIEWS[view].module);
  signal.throwIfAborted();
  only("other");
  const root = $("other");
  if (root.dataset.view !== view) root.replaceChildren(); // no other view's heading stands over this one
  root.dataset.view = view;
  return show(state, root, signal);
}

/** What a step changes that an upload was begun from. */
const subject = ({ view, c, photo, query } = here()) => JSON.stringify([view, c, photo, query]);

/** A photo of the reader or its address, from wherever it came: one way for all; the next one, or a step elsewhere, gives it up. */
const open = telling(async (given) => {
  if (!given) return;
  const photo = typeof given === "string" ? photoAt(given) : given;
  sending?.abort();
  const mine = (sending = Object.assign(new AbortController(), { from: subject() }));
  clearProblem();
  busy("upload", true);
  say(t("reading", { name: photo.name }));
  try {
    const { query } = await upload(photo, mine.signal);
    ask({ query });
  } finally {
    if (sending === mine) {
      sending = null;
      busy("upload", false);
    }
  }
});

function moved() {
  if (takeToken()) return location.reload();
  if (sending && sending.from !== subject()) sending.abort();
  return render();
}

let ours = false; // a picture or link of this page is dragged
const dragged = ({ dataTransfer }) => !ours && dataTransfer?.types.some((type) => type === "Files" || type === "text/uri-list");

function bindDoors() {
  for (const id of ["file", "camera"])
    $(id).addEventListener("change", ({ target }) => {
      open(target.files[0]);
      target.value = "";
    });
  document.addEventListener("click", ({ target }) => {
    const door = target.closest("[data-open]");
    if (door) $(door.dataset.open).click();
  });
  addEventListener("paste", (event) => {
    const [file] = event.clipboardData.files;
    const text = event.clipboardData.getData("text/plain");
    if (!file && (writing(event.target) || !urlIn(text))) return;
    event.preventDefault();
    open(file || text);
  });
  $("by-url").addEventListener("submit", (event) => {
    event.preventDefault();
    open($("url").value.trim());
  });
  addEventListener("dragstart", () => (ours = true));
  addEventListener("dragend", () => (ours = false));
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
    open(event.dataTransfer.files[0] || event.dataTransfer.getData("URL"));
  });
}

const photosShown = () => [...document.querySelectorAll(".view:not([hidden]) .card .photo")];

function move(way) {
  if (search?.keys.step(way)) return true;
  const photos = photosShown();
  if (!photos.length) return false;
  const at = photos.indexOf(document.activeElement.closest?.(".card")?.querySelector(".photo"));
  const next = photos[at < 0 ? 0 : at + way];
  next?.focus();
  next?.scrollIntoView({ block: "nearest" });
}

/** What a key does in a search. */
const searching = (name, ...given) => () => Boolean(search?.keys[name](...given));

function bindKeys() {
  bind(["o"], "key_open", () => $("file").click());
  mention(["Ctrl V"], "key_paste");
  bind(["j", "ArrowRight"], "key_next", () => move(1));
  bind(["k", "ArrowLeft"], "key_previous", () => move(-1));
  mention(["Enter"], "key_why");
  bind(["s"], "key_from_here", searching("fromHere"));
  bind(["y"], "key_same", searching("mark", true));
  bind(["n"], "key_other", searching("mark", false));
  bind(["b"], "key_box", searching("toBox"));
  mention(["←", "↑", "→", "↓"], "key_box_move");
  mention(["Shift ←↑→↓"], "key_box_size");
  mention(["Esc"], "key_box_clear");
  bind(["v"], "key_mode", searching("mode"));
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
    try {
      await choose(select.value);
    } finally {
      select.value = language;
    }
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
  bindDoors();
  const { photo, query, view } = here();
  if (photo || query) behind("./search.js").catch(() => {}); // meanwhile; told below
  else if (!view) only("start");
  try {
    await ready;
  } catch (error) {
    return tell(error);
  }
  bindTools();
  bindKeys();
  for (const [view, { route }] of Object.entries(VIEWS)) document.querySelector(`nav [data-view=${view}]`).hidden = !has(route);
  document.querySelector("nav").hidden = !Object.values(VIEWS).some(({ route }) => has(route));
  addEventListener("hashchange", moved);
  await render();
}

begin();
