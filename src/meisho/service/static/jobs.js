/** Jobs: what runs beside answering; watched as it goes, and cancelled. */

import { change, here } from "./address.js";
import { call, events, get, has } from "./api.js";
import { current, loadCollections } from "./collections.js";
import { button, el } from "./dom.js";
import { say, tell, telling } from "./said.js";
import { moment, number, t } from "./texts.js";

const KINDS = ["index", "groups", "local"];
const GOING = ["waiting", "running"];

export async function startJob(kind, options = {}) {
  await call("POST", "v1/jobs", { json: { kind, options, collection: current().name } });
  if (here().view === "jobs") dispatchEvent(new HashChangeEvent("hashchange"));
  else change({ view: "jobs", id: "", photo: "", query: "" });
}

function rowOf(job, signal) {
  const row = el("tr", { data: { id: job.id } });
  const cancel = telling(async () => fill(await call("DELETE", `v1/jobs/${job.id}`)));
  function fill(now) {
    const { kind, state, done, total, stage, message, problem, started } = now;
    const bar = state === "running" && el("progress", { max: total || null, value: total ? done : null, "aria-label": t("progress") });
    const counted = total ? t("done_of", { done, total }) : done ? number(done) : "";
    row.dataset.state = state;
    row.replaceChildren(
      el("td", {}, t(`job_${kind}`)), el("td", {}, t(`state_${state}`)),
      el("td", {}, bar || "", el("div", { class: "small" }, [stage, counted].filter(Boolean).join(" ")), problem ? el("div", { class: "small" }, problem.detail) : message || ""),
      el("td", { class: "soft" }, started ? moment(started) : ""),
      el("td", {}, GOING.includes(state) ? button({ icon: "close", text: t("cancel") }, cancel) : ""));
  }
  fill(job);
  if (GOING.includes(job.state)) watch(job, fill, signal);
  return row;
}

/** Follow a job until it ends; what it changed is read anew. */
async function watch({ id, kind }, fill, signal) {
  try {
    let last;
    for await (const job of events(`v1/jobs/${id}/events`, { signal })) fill((last = job));
    if (!last || GOING.includes(last.state)) return;
    say(`${t(`job_${kind}`)}: ${t(`state_${last.state}`)}`);
    await loadCollections(signal);
  } catch (error) {
    tell(error);
  }
}

export async function show({ c }, root, signal) {
  const { jobs } = await get("v1/jobs", { collection: c }, signal);
  const starts = has("/v1/jobs", "post") && current().writable && KINDS.filter((kind) => (kind !== "local" || !current().local) && (kind !== "groups" || has("/v1/places")));
  root.replaceChildren(
    el("h1", {}, t("view_jobs")), el("p", { class: "soft" }, t("jobs_lead")),
    el("div", { class: "does" }, (starts || []).map((kind) => button({ text: t(`start_${kind}`) }, telling(() => startJob(kind, kind === "local" ? { name: "sift" } : {}))))),
    jobs.length ? el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": t("view_jobs") }, el("table", {},
      el("thead", {}, el("tr", {}, ["job", "state", "progress", "started"].map((key) => el("th", { scope: "col" }, t(key))), el("td", {}))),
      el("tbody", {}, jobs.map((job) => rowOf(job, signal))))) : el("p", {}, t("jobs_none")));
}
