// What the history of the server keeps: earlier versions of a file, and what was removed from a folder.
import { read } from "./client.js";
import { ask, fail, tell } from "./dialog.js";
import { baseOf, date, h, shown, size } from "./dom.js";
import * as requests from "./requests.js";
import { t } from "./strings.js";
import { once, wanted } from "./turns.js";

const largest = 2 << 20; // bytes of a text that is compared here
const bare = (href) => href.replace(/\/$/, "");

function what(cause) {
  const key = cause === "restore" ? "history.restore.cause" : `history.${cause}`;
  const text = t(key);
  return text === key ? cause : text;
}

/** Shows the versions of a file or a folder. */
export async function showHistory(row, page) {
  const still = wanted();
  try {
    const { versions, complete } = await requests.history(bare(row.href));
    const own = versions.filter((v) => bare(v.href) === bare(row.href));
    const now = await requests.look(row.href).catch(() => null);
    const files = own.filter((v) => !v.collection);
    const last = now && !now.collection && (await requests.latest(row.href).catch(() => ({})));
    if (!still()) return;
    const by = last && last.etag === now.etag ? last.by : "";
    const list = [now && !now.collection && { ...now, by, id: "", gone: null }, ...own].filter(Boolean);
    const rows = list.map((v) => ({
      v,
      pick: h("input", { type: "checkbox", "aria-label": t("select", v.gone ? date(v.gone) : t("history.now")) }),
    }));
    const compare = async () => {
      const two = rows.filter((r) => r.pick.checked && !r.v.collection).map((r) => r.v);
      if (two.length === 2) await compareTwo(row, two[1], two[0]);
    };
    const table = h(
      "table",
      { class: "log" },
      h(
        "tbody",
        {},
        rows.map(({ v, pick }) =>
          h(
            "tr",
            {},
            h("td", {}, v.collection ? "" : pick),
            h(
              "td",
              {},
              v.gone ? `${what(v.cause)} ${date(v.gone)}` : t("history.now"),
              v.by ? h("span", { class: "state" }, ` ${t("history.by", v.by)}`) : "",
            ),
            h("td", {}, v.collection ? "" : size(v.size)),
            h(
              "td",
              {},
              v.gone &&
                page.may("create") &&
                h(
                  "button",
                  {
                    type: "button",
                    onclick: once(() => restoreOne(v, now, page)),
                  },
                  t("history.restore"),
                ),
              v.gone &&
                !v.collection &&
                h(
                  "a",
                  { class: "button", href: requests.versionURL(bare(v.href), v.id), download: baseOf(row.href) },
                  t("download"),
                ),
            ),
          ),
        ),
      ),
    );
    await ask(
      t("history.title", shown(baseOf(row.href))),
      [
        list.length > 0 && table,
        !own.length && h("p", {}, t("history.none")),
        !complete && h("p", {}, t("history.more")),
        files.length > 0 && h("button", { type: "button", onclick: compare }, t("history.compare")),
      ],
      [{ label: t("close"), value: null, kind: "main" }],
      { wide: true },
    );
  } catch (error) {
    await fail(error);
  }
}

async function restoreOne(v, there, page) {
  try {
    await requests.restore(bare(v.href), v.id, there);
    await page.reload();
    tell(t("restored", shown(baseOf(v.href))));
    return true;
  } catch (error) {
    await fail(error);
    return false;
  }
}

async function compareTwo(row, older, newer) {
  const still = wanted();
  try {
    const texts = await Promise.all(
      [older, newer].map(async (v) => {
        if (v.size > largest) throw new Error(t("too.large"));
        const version = await read(
          v.id ? requests.versionURL(bare(row.href), v.id) : row.href,
          v.id ? { headers: {} } : {},
        );
        if (!version.isText) throw new Error(t("not.text"));
        return version.text;
      }),
    );
    const { Editor } = await import(requests.assets + "editor.js");
    if (!still()) return;
    const place = h("div", { class: "content" });
    const labels = [older, newer].map((v) => (v.gone ? date(v.gone) : t("history.now")));
    const shownPair = Editor.compare(place, texts[0], texts[1], labels);
    await ask(labels.join(" – "), [place], [{ label: t("close"), value: null, kind: "main" }], { wide: true });
    shownPair.destroy();
  } catch (error) {
    await fail(error);
  }
}

/** Shows what was removed from a folder and is not there now, and brings it back. */
export async function showDeleted(folder, page) {
  const still = wanted();
  try {
    const { versions, complete } = await requests.history(folder);
    const seen = new Set(),
      gone = [];
    for (const v of versions) {
      // the latest first
      if (seen.has(bare(v.href))) continue;
      seen.add(bare(v.href));
      if (v.cause === "DELETE" || v.cause === "MOVE") gone.push(v);
    }
    const missing = [];
    for (const v of gone.slice(0, 200)) if (!(await requests.look(bare(v.href)).catch(() => true))) missing.push(v);
    if (!still()) return;
    const table = h(
      "table",
      { class: "log" },
      h(
        "tbody",
        {},
        missing.map((v) => {
          const line = h(
            "tr",
            {},
            h("td", {}, h("bdi", {}, shown(v.name || baseOf(v.href)) + (v.collection ? "/" : ""))),
            h(
              "td",
              {},
              `${what(v.cause)} ${date(v.gone)}`,
              v.by ? h("span", { class: "state" }, ` ${t("history.by", v.by)}`) : "",
            ),
            h("td", {}, v.collection ? "" : size(v.size)),
            h(
              "td",
              {},
              page.may("create") &&
                h(
                  "button",
                  {
                    type: "button",
                    onclick: once(async () => {
                      if (await restoreOne(v, null, page)) line.remove();
                    }),
                  },
                  t("history.bring"),
                ),
            ),
          );
          return line;
        }),
      ),
    );
    await ask(
      t("deleted.title", shown(baseOf(folder) || location.host)),
      [
        missing.length ? table : h("p", {}, t("history.none")),
        (!complete || gone.length > 200) && h("p", {}, t("history.more")),
      ],
      [{ label: t("close"), value: null, kind: "main" }],
      { wide: true },
    );
  } catch (error) {
    await fail(error);
  }
}
