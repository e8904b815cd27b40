/** What the page says, in the language of the reader: one JSON of texts for each. */

import { get } from "./api.js";

export const LANGUAGES = { en: "English", ja: "日本語" };

let texts = {};
let plural;
let chosen; // the language that is wanted: its texts may still be on their way
export let language = "en";

function wanted() {
  const kept = localStorage.getItem("language");
  const codes = [kept, ...navigator.languages.map((code) => code.slice(0, 2))];
  return codes.find((code) => code in LANGUAGES) || "en";
}

export async function load(code = wanted()) {
  chosen = code;
  const those = await get(`static/${code}.json`);
  if (chosen !== code) return; // another was chosen meanwhile
  texts = those;
  language = code;
  plural = new Intl.PluralRules(code);
  document.documentElement.lang = code;
  apply(document.documentElement);
}

export async function choose(code) {
  await load(code);
  if (language === code) localStorage.setItem("language", code);
}

/** The text of `key`, with {name} filled in; one that counts has a form "one" and a form "other" for `n`. */
export function t(key, values = {}) {
  let text = texts[key];
  if (text === undefined) throw new Error(`no text "${key}" in ${language}.json`);
  if (typeof text === "object") text = text[plural.select(values.n)] ?? text.other;
  return text.replace(/\{(\w+)\}/g, (_, name) => (typeof values[name] === "number" ? number(values[name]) : values[name]));
}

/** Fill in what index.html leaves to the language: data-text, data-label (a name and a tip). */
export function apply(root) {
  for (const element of root.querySelectorAll("[data-text]")) element.textContent = t(element.dataset.text);
  for (const element of root.querySelectorAll("[data-label]")) {
    element.ariaLabel = t(element.dataset.label);
    if (element.matches("button, a")) element.title = element.ariaLabel;
  }
}

export const number = (value, options) => new Intl.NumberFormat(language, options).format(value);
export const percent = (share) => number(share, { style: "percent", maximumFractionDigits: 0 });
export const moment = (iso) => new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" }).format(new Date(iso));

/** A probability in words that never claims certainty. */
export function chance(probability) {
  if (probability > 0.99) return t("more_than", { share: percent(0.99) });
  if (probability < 0.01) return t("less_than", { share: percent(0.01) });
  return percent(probability);
}
