// Texts in the language of the reader. What a table lacks is shown in English.
import english from "./english.js";

const tables = { en: english };
const table = { ...english, ...tables[navigator.language?.split("-")[0]] };

/** Returns a text with {0}, {1} … replaced. */
export function t(key, ...values) {
  return (table[key] ?? key).replace(/\{(\d)\}/g, (_, i) => String(values[i] ?? ""));
}
