/** The collections that the service keeps open, and which of them is asked. */

import { change, here } from "./address.js";
import { get, has } from "./api.js";
import { $, el } from "./dom.js";

let collections = [];
/** Whether the service fetches photos from addresses; undefined until it has said so. */
export let fetches;

export async function loadCollections(signal) {
  ({ collections, query_urls: fetches } = await get("v1/collections", {}, signal));
  const select = $("collection");
  select.replaceChildren(...collections.map(({ name }) => el("option", { value: name }, name)));
  select.hidden = collections.length < 2;
  select.value = current().name;
}

/** Whether this build has a route that changes the collection, and this reader may use it. */
export const mayChange = (path, method) => has(path, method) && current().writable;

export const current = () => collections.find(({ name }) => name === here().c) || collections[0];

$("collection").addEventListener("change", ({ target }) => {
  const { view } = here();
  change({ ...Object.fromEntries(Object.keys(here()).map((key) => [key, ""])), view, c: target.value });
});
