// The page of a folder. Its rows have come with it, as HTML; here they become what can be sorted, chosen and changed.
import { Actions } from "./actions.js";
import { ask, askText, fail, tell } from "./dialog.js";
import { baseOf, canonical, h, parentOf, segmentOf, shown } from "./dom.js";
import * as requests from "./requests.js";
import { t } from "./strings.js";
import { dragged, Table } from "./table.js";
import { inTurn, once, wanted } from "./turns.js";

if (document.querySelector(".who")) await import("./login.js"); // there are users, so that a request can need a login

const folder = requests.path;
let listing = { may: [], members: [], token: "" };
const may = (effect) => listing.may.includes(effect);

const page = { folder, may, reload: () => load(), focusing };
const actions = new Actions(page);
const open = async (row) => (await import("./open.js")).open(row, page);
const history = async (row) => (await import("./history.js")).showHistory(row, page);
const others = { open, history };

/** Has something done with a row when it is known what the reader may do, and what is there: by the first listing. */
const known = (run) => async (row) => {
  const still = wanted();
  await ready;
  const now = table.row(row.href);
  if (now && still()) await run(now);
};

const table = new Table(document.getElementById("files"), {
  open: known(open),
  changed: tools,
  menu: known((row) => actions.menu(row, others)),
  drop: (e, href) => drop(e, href),
});

/** Reads the rows that have come as HTML. They have no ETags yet: list brings them. */
function firstRows() {
  return [...table.body.rows].map((tr) => {
    const a = tr.querySelector("a");
    const collection = a.classList.contains("dir");
    return {
      href: a.getAttribute("href"),
      name: collection ? a.textContent.replace(/\/$/, "") : a.textContent,
      collection,
      size: Number(tr.cells[1].dataset.n ?? 0),
      modified: tr.querySelector("time")?.textContent.replace(" ", "T"),
    };
  });
}

/** Lists the folder again. One listing is on its way at most, so that none comes after a newer one. */
const load = inTurn(async () => {
  listing = await requests.list(folder);
  table.show(listing.members);
  tools();
});

/** Returns a function that gives a row the focus, unless the reader has taken it elsewhere since. */
function focusing() {
  const from = document.activeElement;
  return (href) => {
    if ([from, document.body].includes(document.activeElement)) table.focus(href);
  };
}

// ---- the tools above the rows

const filter = h("input", {
  "type": "search",
  "placeholder": t("filter"),
  "aria-label": t("filter"),
  "autocomplete": "off",
  "aria-keyshortcuts": "/",
  "spellcheck": "false",
  "oninput": () => table.filter(filter.value),
  "onkeydown": (e) => {
    if (e.key === "Enter" && filter.value) search();
  },
});
const count = h("span", { class: "count", role: "status" });
const files = h("input", { type: "file", multiple: true, hidden: true, onchange: () => choose(files) });
const folders = h("input", { type: "file", webkitdirectory: true, hidden: true, onchange: () => choose(folders) });
const buttons = {
  upload: tool("upload", () => files.click(), "main"),
  newFolder: tool("new.folder", () => actions.newFolder()),
  more: tool("more", more),
};
const chosen = {
  download: tool("download", () => actions.download(table.chosen())),
  rename: tool("rename", () => actions.rename(table.chosen()[0])),
  move: tool("move", () => actions.transfer("MOVE", table.chosen())),
  copy: tool("copy", () => actions.transfer("COPY", table.chosen())),
  remove: tool("delete", () => actions.remove(table.chosen()), "danger"),
};
const clear = h("button", { "class": "quiet", "aria-label": t("clear"), "onclick": () => table.selectAll(false) }, "×");
const some = h("div", { class: "tools some", role: "group", hidden: true }, count, Object.values(chosen), clear);
const always = h("div", { class: "tools", role: "group" }, filter, Object.values(buttons), files, folders);

function tool(key, run, kind = "") {
  return h("button", { class: kind, onclick: run }, t(key));
}

/** Shows what is asked for less often. */
async function more() {
  const still = wanted();
  await ready;
  if (!still()) return;
  const change = may("create");
  const items = [
    change && ["new.file", newFile],
    change && ["upload.folder", () => folders.click()],
    ["search", search],
    may("history") && ["deleted", async () => (await import("./history.js")).showDeleted(folder, page)],
    requests.canShare && ["share.all", async () => (await import("./share.js")).showLinks(null, page)],
    ["download.zip", () => actions.download([])],
  ].filter(Boolean);
  const run = await ask(
    t("more"),
    [],
    [...items.map(([key, value]) => ({ label: t(key), value })), { label: t("cancel"), value: null }],
    { kind: "sheet" },
  );
  run?.();
}

function tools() {
  const n = table?.selected.size ?? 0;
  if (listing.path) { // else more rows can be behind those that have come as HTML
    document.getElementById("more").textContent = !table.rows.length ? t("empty") : table.count ? "" : t("filtered");
  }
  some.hidden = n === 0;
  always.classList.toggle("away", n > 0); // it keeps its place, so that no row moves when one is chosen
  count.textContent = n ? t("selected", n) : "";
  const change = may("create");
  buttons.upload.hidden = buttons.newFolder.hidden = !change;
  chosen.rename.hidden = n !== 1 || !may("remove") || !change;
  chosen.move.hidden = chosen.remove.hidden = !may("remove");
  chosen.download.textContent = t(n === 1 && !table.chosen()[0]?.collection ? "download" : "download.zip");
}

async function newFile() {
  const text = await askText(t("new.file"), t("name"), "", actions.badName);
  if (text === null) return;
  await actions.run(async () => {
    const { create, ConflictError } = await import("./client.js");
    try {
      await create(folder + segmentOf(text), "");
    } catch (error) {
      if (error instanceof ConflictError) throw new Error(t("taken.title", shown(text)));
      throw error;
    }
    await load();
    const row = table.row(folder + segmentOf(text)) ?? { href: folder + segmentOf(text), name: text, size: 0 };
    await open(row);
  });
}

async function search() {
  const text = filter.value || (await askText(t("search"), t("name"), "", (v) => (v ? "" : t("bad.name"))));
  if (!text) return;
  const still = wanted();
  await actions.run(async () => {
    const { members, complete } = await requests.search(folder, text);
    if (!still()) return;
    await ask(
      t("search.title"),
      [
        members.length
          ? h(
              "ul",
              { class: "found" },
              members.map((m) =>
                h(
                  "li",
                  {},
                  h(
                    "a",
                    {
                      href: m.collection ? m.href : `${parentOf(m.href)}#${m.href}`,
                      class: m.collection ? "dir" : null,
                    },
                    h("bdi", {}, m.collection ? m.name + "/" : m.name),
                  ),
                ),
              ),
            )
          : h("p", {}, t("search.none")),
        !complete && h("p", {}, t("search.more")),
      ],
      [{ label: t("close"), value: null, kind: "main" }],
      { wide: true },
    );
  });
}

// ---- uploads

async function choose(input) {
  const chosen = [...input.files]; // now: others may be chosen before the module has come
  input.value = "";
  const { fromInput, upload } = await import("./upload.js");
  await upload(fromInput(chosen), folder, page);
}

async function drop(e, into) {
  e.preventDefault();
  document.body.classList.remove("dropping");
  const rows = e.dataTransfer.getData(dragged);
  if (rows) {
    const moved = JSON.parse(rows)
      .map((href) => table.row(href))
      .filter(Boolean);
    await actions.transfer(e.ctrlKey || e.altKey || !may("remove") ? "COPY" : "MOVE", moved, into);
    return;
  }
  if (!may("create")) return;
  const entries = [...e.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean); // the list ends with the event
  const { fromDrop, upload } = await import("./upload.js");
  await upload(fromDrop(entries), into, page);
}

addEventListener("dragover", (e) => {
  if (!e.dataTransfer.types.includes("Files")) return;
  e.preventDefault();
  document.body.classList.toggle("dropping", may("create"));
});
addEventListener("dragleave", (e) => {
  if (!e.relatedTarget) document.body.classList.remove("dropping");
});
addEventListener("drop", (e) => {
  if (e.dataTransfer.types.includes("Files")) drop(e, folder).catch(fail);
});
for (const crumb of document.querySelectorAll(".crumbs a")) {
  crumb.addEventListener("dragover", (e) => {
    if (e.dataTransfer.types.includes(dragged)) e.preventDefault();
  });
  crumb.addEventListener("drop", (e) => {
    e.stopPropagation();
    drop(e, crumb.getAttribute("href")).catch(fail);
  });
}

// ---- keys, and what the address says

addEventListener("keydown", (e) => {
  if (e.target.matches("input:not([type=checkbox]), textarea") || document.querySelector("dialog[open]")) return;
  const here = table.row(document.activeElement?.closest?.("tr")?.dataset.href);
  const rows = table.selected.size ? table.chosen() : here ? [here] : [];
  if (e.key === "/") {
    e.preventDefault();
    filter.focus();
  } else if (e.key === "Delete" && rows.length && may("remove")) actions.remove(rows);
  else if (e.key === "F2" && here && may("remove") && may("create")) {
    e.preventDefault();
    actions.rename(here);
  } else if (e.key === "a" && (e.ctrlKey || e.metaKey)) {
    e.preventDefault();
    table.selectAll(true);
  } else if (e.key === "Escape") table.selectAll(false);
});

/**
 * Opens the file that the fragment of the address names: a link to a file in the page. The bytes of its name decide. Where
 * no name has them, the one that reads the same in Unicode is meant, if there is one alone, as for the server.
 */
async function openNamed() {
  const href = canonical(location.hash.slice(1));
  if (!href || parentOf(href) !== folder) return;
  const name = baseOf(href).normalize();
  const alike = name.includes("\ufffd") ? [] : table.rows.filter((row) => baseOf(row.href).normalize() === name);
  const row = table.row(href) ?? (alike.length === 1 ? alike[0] : null);
  if (!row) tell(t("link.none", shown(baseOf(href))));
  else if (!row.collection) await open(row);
}

document.getElementById("tools").append(always, some);
document.body.classList.add("live");
table.show(firstRows());
const listed = load();
const ready = listed.catch(() => {});
listed
  .then(async () => {
    openNamed();
    (await import("./live.js")).follow(folder, page, () => listing.token);
  })
  .catch(fail);
addEventListener("pageshow", (e) => {
  if (e.persisted) load().catch(fail); // the browser has kept the page of some time ago
});
addEventListener("loggedin", () => load().catch(fail)); // more may be seen and done now
addEventListener("hashchange", () => {
  if (!document.querySelector("dialog[open]")) openNamed();
});
const who = document.querySelector("form.who");
const logOut = once(async () => (await import("./logout.js")).logOut(who));
who?.addEventListener("submit", (e) => {
  e.preventDefault();
  logOut().catch(fail);
});
/** Drops drafts that are too old. Most readers have none, and do not load the module. */
async function ageDrafts() {
  if (Object.keys(localStorage).some((key) => key.startsWith("ifmatch draft "))) (await import("./drafts.js")).age();
}
ageDrafts().catch(() => {}); // the next page does it
if (baseOf(folder)) document.title = shown(baseOf(folder));
