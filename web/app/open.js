// Opens a file: text is edited, what browsers can show is shown, and the rest can be downloaded.
import { fail } from "./dialog.js";
import { baseOf, h, shown } from "./dom.js";
import { openPane } from "./pane.js";
import * as requests from "./requests.js";
import { t } from "./strings.js";
import { wanted } from "./turns.js";

const largest = 2 << 20; // bytes of a text that is edited here
const texts =
  /\.(txt|md|markdown|log|csv|tsv|json|jsonl|ya?ml|toml|ini|conf|cfg|env|properties|xml|html?|css|scss|less|[cm]?[jt]sx?|vue|go|mod|sum|rs|c|h|cc|cpp|hpp|java|kt|py|rb|pl|php|lua|sh|bash|zsh|fish|ps1|bat|sql|r|tex|bib|diff|patch|rst|org|adoc|gitignore|dockerfile|makefile)$/i;
const bareTexts =
  /^(readme|license|copying|authors|changelog|makefile|dockerfile|notice|todo|\.[a-z]+rc|\.gitignore|\.env)$/i;

const opened = new Set(); // what is open, or about to be

/**
 * Opens a file, and returns when it is closed. One that is open already is not opened again: the two editors would have one
 * draft. The reader may have clicked twice, or before the list has come, after which the page opens what its address names.
 *
 * @param {import("./requests.js").Row} row
 */
export async function open(row, page) {
  if (opened.has(row.href)) return;
  opened.add(row.href);
  try {
    await show(row, page);
  } finally {
    opened.delete(row.href);
  }
}

async function show(row, page) {
  const still = wanted();
  let now;
  try {
    now = await requests.look(row.href);
  } catch (error) {
    await fail(error);
    return;
  }
  if (!now || now.collection) {
    await page.reload();
    return;
  }
  if (!still()) return;
  const base = baseOf(row.href),
    type = now.type.split(";")[0];
  history.replaceState(null, "", `#${row.href}`);
  const mine = location.hash;
  try {
    if (isText(base, type)) {
      if (now.size > largest) await preview(row, h("p", { class: "none" }, t("too.large")));
      else await (await import("./edit.js")).edit(row, page, still);
    } else {
      await preview(row, shownBy(row, type, base));
    }
  } catch (error) {
    await fail(error);
  } finally {
    // The reader may have followed a link to another file meanwhile.
    if (location.hash === mine) history.replaceState(null, "", location.pathname + location.search);
  }
}

const isText = (base, type) =>
  texts.test(base) ||
  bareTexts.test(base) ||
  (/^text\/|\/(json|xml|javascript)$|\+(json|xml)$/.test(type) && !/image\/svg/.test(type));

/** Returns the element by which the browser shows a file, or null. */
function shownBy(row, type, base) {
  const label = t("frame", shown(base));
  if (/^image\//.test(type)) return h("img", { src: row.href, alt: shown(base) });
  if (/^video\//.test(type)) return h("video", { "src": row.href, "controls": true, "aria-label": label });
  if (/^audio\//.test(type)) return h("audio", { "src": row.href, "controls": true, "aria-label": label });
  // Chrome shows no PDF in a sandbox. Its viewer runs no script of the file.
  if (type === "application/pdf") return h("iframe", { src: row.href, title: label, referrerpolicy: "no-referrer" });
  return null;
}

async function preview(row, element) {
  const pane = openPane(shown(baseOf(row.href)));
  pane.add(t("download"), () => download(row));
  pane.add(t("close"), () => pane.close(), "main");
  pane.content.append(element ?? h("p", { class: "none" }, t("no.preview")));
  await pane.closed;
}

function download(row) {
  const link = h("a", { href: row.href, download: baseOf(row.href) });
  document.body.append(link);
  link.click();
  link.remove();
}
