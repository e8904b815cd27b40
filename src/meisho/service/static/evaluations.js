/** Evaluation: a labelled set, its figures, the worst queries first, and two runs side by side. */

import { change, staying } from "./address.js";
import { call, get, has } from "./api.js";
import { button, el } from "./dom.js";
import { mayChange } from "./collections.js";
import { pickOf } from "./photos.js";
import { growing } from "./places.js";
import { once } from "./said.js";
import { moment, number, t } from "./texts.js";

const AT_ONCE = 30;
const RERANK = ["", "alpha-qe", "geometric:first=20"];

/** A figure as reports print it: most are per cent, `factor` 100. */
const figure = (value, factor) => (value == null ? "" : number(factor * value, { minimumFractionDigits: 2, maximumFractionDigits: 2 }) + (factor === 100 ? " %" : ""));
const cell = (value, factor) => el("td", { class: "number" }, figure(value, factor));

const nameOf = ({ short, setup }) => [short, setup !== "all" && setup].filter(Boolean).join(" · ");

const table = (head, rows) => el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": t("view_evaluations") },
  el("table", {}, el("thead", {}, el("tr", {}, head.map((text, at) => el("th", { scope: "col", class: at && at === head.length - 1 ? "number" : "" }, text)))), el("tbody", {}, rows)));

export async function show(state, root, signal) {
  const part = state.a && state.b ? comparison : state.id ? evaluation : list;
  const back = part !== list && el("p", {}, el("a", { href: "#view=evaluations" }, `← ${t("view_evaluations")}`));
  const parts = await part(state, signal);
  root.replaceChildren(...[back, ...parts].filter(Boolean));
}

function form(collection) {
  const file = el("input", { type: "file", accept: ".csv,text/csv", required: true });
  const name = el("input", { required: true, maxlength: 60 });
  const rerank = el("select", {}, RERANK.map((chain) => el("option", { value: chain }, chain || t("rerank_none"))));
  const label = (key, input) => el("label", {}, el("span", {}, t(key)), input);
  const start = once(async () => {
    const here = staying();
    const json = { dataset: await file.files[0].text(), name: name.value, collection, ...(rerank.value && { rerank: rerank.value }) };
    await call("POST", "v1/evaluations", { json });
    if (here()) change({ view: has("/v1/jobs") ? "jobs" : "evaluations" });
  });
  return el("form", { class: "fields", on: { submit: start } }, label("labels_file", file), label("run_name", name), label("rerank", rerank), button({ text: t("evaluate"), class: "main", type: "submit" }));
}

async function list({ c }, signal) {
  const { evaluations } = await get("v1/evaluations", { collection: c }, signal);
  const chosen = [];
  const compare = button({ text: t("compare"), disabled: true }, () => change({ a: chosen[0], b: chosen[1] }));
  const choose = (id) => ({ target }) => {
    if (target.checked) chosen.push(id);
    else chosen.splice(chosen.indexOf(id), 1);
    compare.disabled = chosen.length !== 2;
  };
  const rows = evaluations.map(({ id, name, begun, rerank, figure: done }) => el("tr", {},
    el("td", {}, el("label", {}, el("input", { type: "checkbox", disabled: !done, on: { change: choose(id) }, "aria-label": t("compare_this", { name }) })), " ", el("a", { href: `#view=evaluations&id=${id}` }, name || id)),
    el("td", { class: "soft" }, moment(begun)), el("td", {}, rerank || t("rerank_none")), el("td", { title: done?.about }, done ? nameOf(done) : t("state_running")), cell(done?.value, done?.factor)));
  return [el("h1", {}, t("view_evaluations")), el("p", { class: "soft" }, t("evaluations_lead")), mayChange("/v1/evaluations", "post") && form(c),
    evaluations.length > 0 && table([t("run_name"), t("started"), t("rerank"), t("figure"), t("value")], rows), evaluations.length > 1 && has("/v1/evaluations/compare") && compare];
}

const photosOf = (label, photos, classes) => photos.length > 0 && el("div", {}, el("p", { class: "small soft" }, label), el("ol", { class: "rows small-rows" }, photos.map((photo, at) => {
  const item = pickOf({ ...photo, name: photo.id.split("/").pop() });
  item.classList.add(...[classes(photo, at)].filter(Boolean));
  return item;
})));

function caseOf({ query, ap, answers, missed }, factor) {
  const judged = ({ right }) => (right ? "right" : "wrong");
  return el("section", { class: "group" }, el("h2", {}, `${figure(ap, factor)} · ${query}`),
    photosOf(t("its_answers"), answers, judged), photosOf(t("its_missed", { n: missed.length }), missed.map((id) => ({ id })), () => "missed"));
}

async function evaluation({ id, c }, signal) {
  const page = (cursor) => get(`v1/evaluations/${id}`, { collection: c, limit: AT_ONCE, cursor }, signal);
  const first = await page();
  const { name, figures, warnings } = first;
  const cases = await growing(el("div", {}), "more_queries", async (cursor) => {
    const { queries, next } = cursor ? await page(cursor) : first;
    return [queries.map((each) => caseOf(each, first.figure.factor)), next];
  });
  return [el("h1", {}, name || id), ...warnings.map((text) => el("p", { lang: "en" }, text)), table([t("figure"), t("value")], figures.map((each) => el("tr", {}, el("td", { title: each.about }, nameOf(each)), cell(each.value, each.factor)))),
    el("h2", {}, t("worst_first")), ...cases];
}

async function comparison({ a, b, c }, signal) {
  const { figures, queries, a: first, b: second } = await get("v1/evaluations/compare", { a, b, collection: c }, signal);
  const head = (key) => [t(key), first.name || a, second.name || b, t("difference")];
  const row = (name, { a, b, about }, factor, tip) => el("tr", { title: tip }, el("td", { title: about }, name), cell(a, factor), cell(b, factor), cell(b - a, factor));
  return [el("h1", {}, t("compared")), table(head("figure"), figures.map((each) => row(nameOf(each), each, each.factor, each.sentence))), el("h2", {}, t("difference_first")),
    table(head("query"), queries.map((each) => row(each.query, each, first.figure.factor)))];
}
