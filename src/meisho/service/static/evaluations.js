/** Evaluation: a labelled set, its figures, the worst queries first, and two runs side by side. */

import { change } from "./address.js";
import { call, get, has } from "./api.js";
import { pickOf } from "./cards.js";
import { button, el } from "./dom.js";
import { telling } from "./said.js";
import { moment, number, t } from "./texts.js";

const AT_ONCE = 30;
const RERANK = ["", "alpha-qe", "geometric:first=20"];

const figure = (value) => (value == null ? "" : number(value, { maximumFractionDigits: 2 }));
const cell = (value, extra = {}) => el("td", { class: "number", ...extra }, figure(value));

const table = (head, rows) => el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": t("view_evaluations") },
  el("table", {}, el("thead", {}, el("tr", {}, head.map((text, at) => el("th", { scope: "col", class: at ? "number" : "" }, text)))), el("tbody", {}, rows)));

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
  const start = telling(async (event) => {
    event.preventDefault();
    const json = { dataset: await file.files[0].text(), name: name.value, collection, ...(rerank.value && { rerank: rerank.value }) };
    await call("POST", "v1/evaluations", { json });
    change({ view: has("/v1/jobs") ? "jobs" : "evaluations" });
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
  const names = [...new Set(evaluations.flatMap(({ figures }) => figures.map(({ name }) => name)))];
  const rows = evaluations.map(({ id, name, at, figures }) => el("tr", {},
    el("td", {}, el("label", {}, el("input", { type: "checkbox", on: { change: choose(id) }, "aria-label": t("compare_this", { name }) }), " "), el("a", { href: `#view=evaluations&id=${id}` }, name), " ", el("span", { class: "soft" }, at ? moment(at) : "")),
    names.map((each) => cell(figures.find(({ name }) => name === each)?.value))));
  return [el("h1", {}, t("view_evaluations")), el("p", { class: "soft" }, t("evaluations_lead")), has("/v1/evaluations", "post") && form(c),
    evaluations.length > 0 && table([t("run_name"), ...names], rows), evaluations.length > 1 && has("/v1/evaluations/compare") && compare];
}

const photosOf = (label, photos, classes) => photos.length > 0 && el("div", {}, el("p", { class: "small soft" }, label), el("ol", { class: "rows small-rows" }, photos.map((photo, at) => {
  const item = pickOf({ ...photo, name: photo.id.split("/").pop() });
  item.classList.add(...[classes(photo, at)].filter(Boolean));
  return item;
})));

function caseOf({ query, ap, answers, missed }) {
  const judged = ({ right }) => (right ? "right" : right === false ? "wrong" : "");
  const photo = (id) => (typeof id === "string" ? { id } : id);
  return el("section", { class: "group" }, el("h2", {}, `${figure(ap)} · ${photo(query).id}`),
    photosOf(t("its_answers"), answers, judged), photosOf(t("its_missed", { n: missed.length }), missed.map(photo), () => "missed"));
}

async function evaluation({ id, c }, signal) {
  const { name, figures, queries } = await get(`v1/evaluations/${encodeURIComponent(id)}`, { collection: c }, signal);
  const cases = el("div", {});
  const more = button({ text: t("more_queries"), class: "wide" }, add);
  function add() {
    const from = cases.children.length;
    cases.append(...queries.slice(from, from + AT_ONCE).map(caseOf));
    more.hidden = cases.children.length >= queries.length;
  }
  add();
  return [el("h1", {}, name), table([t("figure"), t("value")], figures.map(({ name, value, protocol }) => el("tr", {}, el("td", { title: protocol }, name), cell(value)))), el("h2", {}, t("worst_first")), cases, more];
}

async function comparison({ a, b, c }, signal) {
  const { figures, queries } = await get("v1/evaluations/compare", { a, b, collection: c }, signal);
  const row = (name, first, second) => el("tr", {}, el("td", {}, name), cell(first), cell(second), cell(second - first));
  const head = (key) => [t(key), a, b, t("difference")];
  return [el("h1", {}, t("compared")), table(head("figure"), figures.map(({ name, a, b }) => row(name, a, b))), el("h2", {}, t("difference_first")),
    table(head("query"), queries.slice(0, 100).map(({ query, a, b }) => row(query, a, b)))];
}
