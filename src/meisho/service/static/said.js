/** What the page tells: a line for screen readers, and problems with their remedy. */

import { Problem, useToken } from "./api.js";
import { $, button, el } from "./dom.js";
import { t } from "./texts.js";

/** Said to screen readers, and shown for a moment where nothing else shows it. */
export const say = (text) => ($("said").textContent = text);

export function clearProblem() {
  $("problem").replaceChildren();
}

/** Show what went wrong, in the service's words, until the next step. */
export function tell(error) {
  if (error.name === "AbortError") return;
  if (!(error instanceof Problem)) throw error;
  if (error.status === 401) return askToken();
  const [title, detail, remedy] =
    error.type === "unreachable" ? [t("unreachable"), t("unreachable_detail")] : [error.title, error.detail, error.remedy];
  $("problem").replaceChildren(
    el("div", { class: "problem", role: "alert" },
      el("div", {}, el("strong", {}, title || t("went_wrong")), detail && detail !== title && el("p", {}, detail), remedy && el("p", { class: "remedy" }, remedy)),
      button({ icon: "close", label: t("close"), class: "plain" }, clearProblem)),
  );
}

function askToken() {
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
    tell(error);
  }
};
