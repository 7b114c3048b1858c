// What people do with files. Each action names what the page has shown, so nothing is done to what nobody has seen.
import { ConflictError } from "./client.js";
import { ask, askText, fail, tell } from "./dialog.js";
import { baseOf, copyText, date, h, parentOf, segmentOf, shown, size } from "./dom.js";
import * as requests from "./requests.js";
import { t } from "./strings.js";
import { last } from "./turns.js";

/** @typedef {import("./requests.js").Row} Row */

export class Actions {
  #copying = last();

  /** @param {{folder: string, may: (effect: string) => boolean, reload: () => Promise<void>, focusing: () => (href: string) => void}} page */
  constructor(page) {
    this.page = page;
  }

  /** Runs something, and tells why it has failed. */
  async run(what) {
    try {
      return await what();
    } catch (error) {
      await this.page.reload().catch(() => {});
      await fail(error);
      return undefined;
    }
  }

  badName(text) {
    return text === "" || text === "." || text === ".." || /[/\0]/.test(text) ? t("bad.name") : "";
  }

  async newFolder() {
    const text = await askText(t("new.folder"), t("name"), "", this.badName);
    if (text === null) return;
    const href = `${this.page.folder}${segmentOf(text)}/`;
    const focus = this.page.focusing();
    await this.run(async () => {
      try {
        await requests.makeFolder(href);
      } catch (error) {
        if (error.status !== 405) throw error;
        throw new Error(t("taken.title", shown(text)));
      }
      await this.page.reload();
      focus(href);
      tell(t("was.made", shown(text)));
    });
  }

  async rename(row) {
    const old = baseOf(row.href);
    const text = await askText(t("rename"), t("new.name"), old, this.badName);
    if (text === null || text === old) return;
    await this.#transferAll(
      "MOVE",
      [row],
      () => parentOf(row.href) + segmentOf(text) + (row.collection ? "/" : ""),
      () => t("was.renamed", shown(old), shown(text)),
    );
  }

  /** Moves or copies rows to a folder that is asked for. */
  async transfer(method, rows, to = null) {
    if (to === null) {
      const here = pathText(this.page.folder);
      const label = t(method === "MOVE" ? "move" : "copy");
      const text = await askText(label, t("folder.of"), here, (v) => (v.startsWith("/") ? "" : t("bad.name")));
      if (text === null) return;
      to = text === here ? this.page.folder : text.split("/").map(segmentOf).join("/").replace(/\/?$/, "/");
    }
    const target = (row) => to + row.href.replace(/\/$/, "").split("/").pop() + (row.collection ? "/" : "");
    await this.#transferAll(method, rows, target, (n) => t(method === "MOVE" ? "was.moved" : "was.copied", n));
  }

  async #transferAll(method, rows, target, text) {
    const focus = this.page.focusing();
    let done = 0,
      moved = null,
      all = null;
    for (const row of rows) {
      const outcome = await this.#transferOne(method, row, target(row), all, rows.length > 1);
      if (outcome === "stop") break;
      if (outcome?.all) all = outcome.all;
      if (outcome?.href) {
        done++;
        moved = outcome.href;
      }
    }
    await this.page.reload().catch(fail);
    if (done) tell(text(done));
    if (moved && rows.length === 1) focus(moved);
  }

  /** Transfers one row, and asks about what is in its way, as often as that changes. */
  async #transferOne(method, row, to, all, many) {
    if (method === "COPY" && to === row.href) to = otherName(to); // a copy beside it
    for (let over = null, again = false; ; ) {
      try {
        await requests.transfer(method, row, to, over);
        return { href: to, all };
      } catch (error) {
        if (!(error instanceof ConflictError)) {
          await fail(error);
          return "stop";
        }
        const there = await requests.look(to).catch(() => null);
        const blocked = there && (over || error.problem.condition === "Overwrite") && to !== row.href;
        if (!blocked || (over && there.etag === over.etag)) {
          await this.stale(row);
          return "stop";
        }
        again = over !== null;
        const answer =
          (!again && all) ||
          (await askTaken(
            row,
            { ...there, name: shown(baseOf(to)) },
            { again, many, replace: !row.collection && !there.collection },
          ));
        if (answer?.all) all = { ...answer };
        if (answer?.value === "replace") over = there;
        else if (answer?.value === "both") {
          to = otherName(to);
          over = null;
        } else return answer ? { all } : "stop";
      }
    }
  }

  stale(row) {
    return ask(
      t("stale.title", shown(row.name)),
      [h("p", {}, t(row.collection ? "stale.folder" : "stale.text"))],
      [{ label: t("close"), value: true, kind: "main" }],
    );
  }

  async remove(rows) {
    const title = rows.length === 1 ? t("delete.title", shown(rows[0].name)) : t("delete.many", rows.length);
    const sure = await ask(
      title,
      [h("p", {}, t("delete.text")), this.page.may("history") && h("p", {}, t("delete.kept"))],
      [
        { label: t("cancel"), value: null },
        { label: t("delete"), value: true, kind: "danger" },
      ],
    );
    if (!sure) return;
    const gone = [];
    for (const row of rows) {
      try {
        await requests.removeRow(row);
        gone.push(row);
      } catch (error) {
        await this.page.reload().catch(() => {});
        if (error instanceof ConflictError) await this.stale(row);
        else await fail(error);
        break;
      }
    }
    await this.page.reload().catch(fail);
    if (!gone.length) return;
    tell(
      gone.length === 1 ? t("was.deleted", shown(gone[0].name)) : t("were.deleted", gone.length),
      this.page.may("history") && { label: t("undo"), run: () => this.undelete(gone) },
    );
  }

  /** Brings back what was just removed: the latest version that the history has of each name, where nothing is now. */
  async undelete(rows) {
    const focus = this.page.focusing();
    await this.run(async () => {
      for (const row of rows) {
        const { versions } = await requests.history(row.href);
        const own = versions.find(
          (v) => v.href.replace(/\/$/, "") === row.href.replace(/\/$/, "") && v.cause === "DELETE",
        );
        if (!own) throw new Error(t("history.none"));
        await requests.restore(row.href.replace(/\/$/, ""), own.id);
      }
      await this.page.reload();
      tell(t("restored", rows.length === 1 ? shown(rows[0].name) : t("count", rows.length)));
      focus(rows.at(-1).href);
    });
  }

  download(rows) {
    const single = rows.length === 1 && !rows[0].collection;
    const link = h("a", {
      href: single ? rows[0].href : requests.zipURL(this.page.folder, rows),
      download: single ? baseOf(rows[0].href) : "",
    });
    document.body.append(link);
    link.click();
    link.remove();
  }

  async copyOf(row, what) {
    const still = this.#copying();
    await this.run(async () => {
      const url = location.origin + row.href;
      let text = url;
      if (what !== "link") {
        const { etag } = await requests.withTag(row);
        if (!etag) throw new Error(t("no.etag"));
        text = what === "etag" ? etag : `curl -T FILE -H 'If-Match: ${etag}' '${url}'`;
      }
      if (!still()) return;
      await copyText(text);
      tell(t("copied"));
    });
  }

  /** Shows what can be done with a row. */
  async menu(row, others) {
    const file = !row.collection;
    const may = (effect) => this.page.may(effect);
    const items = [
      file && ["open", () => others.open(row)],
      [file ? "download" : "download.zip", () => this.download([row])],
      may("remove") && may("create") && ["rename", () => this.rename(row)],
      may("remove") && ["move", () => this.transfer("MOVE", [row])],
      ["copy", () => this.transfer("COPY", [row])],
      may("history") && ["show.log", () => others.history(row)],
      requests.canShare && ["share", async () => (await import("./share.js")).showLinks(row, this.page)],
      ["copy.link", () => this.copyOf(row, "link")],
      file && ["copy.etag", () => this.copyOf(row, "etag")],
      file && ["copy.curl", () => this.copyOf(row, "curl")],
      may("remove") && ["delete", () => this.remove([row])],
    ].filter(Boolean);
    const chosen = await ask(
      shown(row.name),
      [],
      [
        ...items.map(([key, value]) => ({ label: t(key), value, kind: key === "delete" ? "danger" : "" })),
        { label: t("cancel"), value: null },
      ],
      { kind: "sheet" },
    );
    chosen?.();
  }
}

/** Returns a path as people write it. Segments that are no UTF-8 stay as they are in a URL. */
export function pathText(href) {
  const text = (segment) => {
    try {
      return decodeURIComponent(segment);
    } catch {
      return segment;
    }
  };
  return href.split("/").map(text).join("/");
}

/** Returns another name for a copy that is kept beside: "a (2).txt" for "a.txt". */
export function otherName(href) {
  const slash = href.endsWith("/") ? "/" : "";
  const parent = parentOf(href),
    segment = href.slice(parent.length).replace(/\/$/, "");
  const dot = slash ? -1 : segment.lastIndexOf(".");
  const [stem, end] = dot > 0 ? [segment.slice(0, dot), segment.slice(dot)] : [segment, ""];
  const counted = /^(.*)%20%28(\d+)%29$/.exec(stem);
  return parent + (counted ? `${counted[1]}%20%28${Number(counted[2]) + 1}%29` : `${stem}%20%282%29`) + end + slash;
}

const patience = 10_000; // milliseconds that a question waits for a name that it can do without
const written = ["PUT", "COPY", "restore"];

/**
 * Returns who has made the version that is there, and when, or null. The latest change tells of this version, if it is
 * kept still, and else the history of the one before. The history does not know of what other programs have written
 * since, so the question shows when that was.
 */
async function author(there) {
  try {
    const signal = AbortSignal.timeout(patience);
    const last = await requests.latest(there.href, signal);
    if (last.cause) {
      const made = last.by && last.etag === there.etag && written.includes(last.cause);
      return made ? { by: last.by, time: last.time } : null;
    }
    const { versions } = await requests.history(there.href, signal);
    const before = versions.find((v) => v.href === there.href); // the latest is the first
    return before?.by && written.includes(before.cause) ? { by: before.by, time: before.gone } : null;
  } catch {
    return null;
  }
}

/**
 * Asks what to do where something has the name.
 * @param {{name: string, size: number, modified?: string, collection?: boolean}} mine
 * @param {{name: string, size: number, modified?: string, collection?: boolean, href: string}} theirs
 * @param {{again?: boolean, many?: boolean, replace?: boolean, same?: boolean}} how
 * @returns {Promise<{value: "replace"|"both"|"skip", all: boolean}|null>}
 */
export async function askTaken(mine, theirs, { again = false, many = false, replace = true, same } = {}) {
  if (!theirs.collection) theirs = { ...theirs, last: await author(theirs) };
  const facts = (label, v) =>
    h(
      "div",
      { class: "version" },
      h("h3", {}, label),
      h("p", {}, v.collection ? "" : size(v.size)),
      h("p", {}, date(v.modified)),
      v.last && h("p", {}, t("taken.by", v.last.by, date(v.last.time))),
    );
  const all = h("input", { type: "checkbox", id: "for-all" });
  const value = await ask(
    t("taken.title", shown(theirs.name)),
    [
      again && h("p", { class: "problem" }, t("taken.again")),
      h("div", { class: "versions" }, facts(t("taken.theirs"), theirs), facts(t("taken.mine"), mine)),
      same !== undefined && h("p", {}, t(same ? "taken.same" : "taken.differs")),
      many && h("p", {}, all, h("label", { for: all.id }, t("for.all"))),
    ],
    [
      { label: t("skip"), value: "skip" },
      replace && { label: t("replace"), value: "replace", kind: "danger" },
      { label: t("keep.both"), value: "both", kind: "main" },
    ].filter(Boolean),
  );
  return value && { value, all: all.checked };
}
