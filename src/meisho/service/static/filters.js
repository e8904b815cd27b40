/** What narrows a search: folder, dates, and a circle on the map. */

import { change, FILTERS } from "./address.js";
import { get, has, loaded } from "./api.js";
import { current } from "./collections.js";
import { $, button, el, keepFocus } from "./dom.js";
import { fillFolders } from "./start.js";
import { t } from "./texts.js";

const located = new Map();

/** Where and when the photos were taken, or nothing where this build does not tell. */
async function facts() {
  const { name, version } = current();
  const key = `${name} ${version}`;
  if (!has("/v1/locations")) return { points: [] };
  if (!located.has(key)) located.set(key, get("v1/locations", { collection: name }));
  try {
    const known = await located.get(key);
    if (known.missing) located.delete(key); // a job still reads them
    return known;
  } catch (error) {
    located.delete(key); // asked for again with the next search
    throw error;
  }
}

const field = (key, text, input) => el("label", {}, el("span", {}, t(text)), input);

function dateField(key, state, { after, before }) {
  const input = el("input", { type: "date", value: state[key], min: after, max: before });
  input.addEventListener("change", () => change({ [key]: input.value, why: "" }));
  return field(key, key, input);
}

export async function showFilters(state, signal) {
  const active = FILTERS.filter((key) => state[key]).length;
  $("narrow-count").textContent = active || "";
  if (active) $("narrow").open = true;
  const select = el("select", {});
  fillFolders(select, state.folder);
  select.addEventListener("change", () => change({ folder: select.value, why: "" }));
  const known = await facts();
  const map = known.points.length > 0 && (await loaded(import("./map.js")));
  signal.throwIfAborted();
  const parts = [
    !select.hidden && field("folder", "folder", select),
    known.after && el("div", { class: "dates" }, dateField("after", state, known), dateField("before", state, known)),
    map && map.mapOf(known.points, state.gps, (gps) => change({ gps, why: "" })),
    active > 0 && button({ icon: "close", text: t("narrow_clear") }, () => change(Object.fromEntries([...FILTERS, "why"].map((key) => [key, ""])))),
  ].filter(Boolean);
  keepFocus($("filters"), () => $("filters").replaceChildren(...parts));
  $("narrow").hidden = !parts.length;
}
