/** What the page tells: a line for screen readers, that it is busy, and problems with their remedy. */

import { get, Problem, useToken } from "./api.js";
import { $, button, el } from "./dom.js";
import { language, t } from "./texts.js";

const VALUE = /[\d"':/]/; // in a detail that names a file or a value
const doing = new Set();
let step = 0; // what is told late, of a step before, is left out

/** Said to screen readers, and shown for a moment where nothing else shows it. */
export const say = (text) => ($("said").textContent = text);

/** Show that `what` goes on, or has ended. */
export function busy(what, goes) {
  if (goes) doing.add(what);
  else doing.delete(what);
  $("busy").hidden = !doing.size;
}

export function clearProblem() {
  step++;
  $("problem").replaceChildren();
}

/** The title, detail and remedy of a problem: the service's own words, or by its type those of the language. */
export async function wordsOf({ type = "", title = "", detail = "", remedy = "" }) {
  if (type === "unreachable") return [t("unreachable"), "", t("unreachable_detail")];
  const known = language !== "en" && type && (await get(`static/problems.${language}.json`).catch(() => ({})))[type.split("/").pop()];
  return known ? [known[0], VALUE.test(detail) ? detail : "", known[1]] : [title, detail === title ? "" : detail, remedy];
}

/** Show what went wrong until the next step. */
export async function tell(error) {
  if (error.name === "AbortError") return;
  if (!(error instanceof Problem)) throw error;
  if (error.status === 401) return askToken();
  const now = step;
  const [title, detail, remedy] = await wordsOf(error);
  if (now !== step) return;
  $("problem").replaceChildren(
    el("div", { class: "problem", role: "alert" },
      el("div", {}, el("strong", {}, title || t("went_wrong")), detail && el("p", { lang: error.type ? "en" : null }, detail), remedy && el("p", { class: "remedy" }, remedy)),
      button({ icon: "close", label: t("close"), class: "plain" }, clearProblem)),
  );
}

function askToken() {
  if ($("problem").querySelector("input")) return; // one may be typing
  const field = el("input", { type: "password", autocomplete: "off", required: true, "aria-label": t("token") });
  const kept = (event) => {
    event.preventDefault();
    useToken(field.value.trim());
    location.reload();
  };
  $("problem").replaceChildren(
    el("form", { class: "problem", on: { submit: kept } }, el("strong", {}, t("token_wanted")), field, el("button", {}, t("go_on"))),
  );
  field.focus();
}

/** A listener that tells what goes wrong in it. */
export const telling = (listener) => async (event) => {
  try {
    await listener(event);
  } catch (error) {
    await tell(error);
  }
};

/** Such a listener that does nothing while it is still at what it was called for before. */
export function once(listener) {
  let going = false;
  return telling(async (event) => {
    event?.preventDefault();
    if (going) return;
    going = true;
    try {
      await listener(event);
    } finally {
      going = false;
    }
  });
}
