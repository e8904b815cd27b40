/** Jobs: what runs beside answering; watched as it goes, and cancelled. */

import { change, here, staying } from "./address.js";
import { call, events, get, has, pause } from "./api.js";
import { current, loadCollections, mayChange } from "./collections.js";
import { button, el } from "./dom.js";
import { clearProblem, once, say, tell, wordsOf } from "./said.js";
import { moment, number, t } from "./texts.js";

const KINDS = ["index", "groups", "local"];
const GOING = ["waiting", "running"];
const AGAIN_S = 3; // after a stream has broken off

export async function startJob(kind, options = {}) {
  const stays = staying();
  await call("POST", "v1/jobs", { json: { kind, options, collection: current().name } });
  if (!stays()) return;
  if (here().view === "jobs") dispatchEvent(new HashChangeEvent("hashchange"));
  else change({ view: "jobs", id: "", photo: "", query: "" });
}

function rowOf(job, signal) {
  const row = el("tr", { data: { id: job.id } });
  const problem = el("div", { class: "small" });
  const cancel = once(async () => fill(await call("DELETE", `v1/jobs/${job.id}`)));
  /** Show how it stands; what is told late of one that has ended is left out. */
  function fill(now) {
    if (row.dataset.state && !GOING.includes(row.dataset.state)) return;
    const { kind, state, done, total, stage, message, started } = now;
    const bar = state === "running" && el("progress", { max: total || null, value: total ? done : null, "aria-label": t("progress") });
    const counted = total ? t("done_of", { done, total }) : done ? number(done) : "";
    row.dataset.state = state;
    if (now.problem) wordsOf(now.problem).then((words) => (problem.textContent = words.filter(Boolean).join(" ")));
    row.replaceChildren(
      el("td", {}, t(`job_${kind}`)), el("td", {}, t(`state_${state}`)),
      el("td", {}, bar || "", el("div", { class: "small" }, [stage, counted].filter(Boolean).join(" ")), now.problem ? problem : message || ""),
      el("td", { class: "soft" }, started ? moment(started) : ""),
      el("td", {}, GOING.includes(state) && mayChange("/v1/jobs/{id}", "delete") ? button({ icon: "close", text: t("cancel") }, cancel) : ""));
  }
  fill(job);
  if (GOING.includes(job.state)) watch(job, fill, signal).catch(tell);
  return row;
}

/** Follow a job until it ends, however often its stream breaks off; what it changed is read anew. */
async function watch({ id, kind }, fill, signal) {
  let [last, broken] = [null, false];
  while (!last || GOING.includes(last.state)) {
    if (broken) await pause(AGAIN_S, signal);
    try {
      for await (const job of events(`v1/jobs/${id}/events`, { signal })) {
        if (broken) clearProblem();
        broken = false;
        fill((last = job));
      }
      broken = true; // unless the job has ended
    } catch (error) {
      if (error.type !== "unreachable") throw error;
      broken = true;
      tell(error);
    }
  }
  say(`${t(`job_${kind}`)}: ${t(`state_${last.state}`)}`);
  await loadCollections(signal);
}

export async function show({ c }, root, signal) {
  const { jobs } = await get("v1/jobs", { collection: c }, signal);
  const starts = mayChange("/v1/jobs", "post") ? KINDS.filter((kind) => (kind !== "local" || !current().local) && (kind !== "groups" || has("/v1/places"))) : [];
  root.replaceChildren(
    el("h1", {}, t("view_jobs")), el("p", { class: "soft" }, t("jobs_lead")),
    el("div", { class: "does" }, starts.map((kind) => button({ text: t(`start_${kind}`) }, once(() => startJob(kind, kind === "local" ? { name: "sift" } : {}))))),
    jobs.length ? el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": t("view_jobs") }, el("table", {},
      el("thead", {}, el("tr", {}, ["job", "state", "progress", "started"].map((key) => el("th", { scope: "col" }, t(key))), el("td", {}))),
      el("tbody", {}, jobs.map((job) => rowOf(job, signal))))) : el("p", {}, t("jobs_none")));
}
