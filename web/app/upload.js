// Files are sent as new ones. Where something has the name, both are shown, and what was shown is what may be replaced.
import { askTaken, otherName } from "./actions.js";
import { tagOf } from "./client.js";
import { fail, tell } from "./dialog.js";
import { h, segmentOf, shown } from "./dom.js";
import { exchange } from "./exchange.js";
import * as requests from "./requests.js";
import { inParts, Resumable } from "./resumable.js";
import { t } from "./strings.js";

const atOnce = 3; // files that are sent at the same time
const comparable = 64 << 20; // bytes up to which contents are compared here

/** @typedef {{file: File, path: string[]}} Item a file and its path below the folder */

/** Returns what was chosen, with the names of the folders that it was in. */
export function fromInput(files) {
  return Promise.resolve({
    items: files.map((file) => ({ file, path: (file.webkitRelativePath || file.name).split("/") })),
    folders: [],
  });
}

/** Returns what was dropped. All entries are read before anything is sent: a folder is sent whole or not begun. */
export function fromDrop(entries) {
  const items = [],
    folders = [];
  async function walk(entry, path) {
    if (entry.isFile) {
      items.push({ file: await new Promise((done, failed) => entry.file(done, failed)), path: [...path, entry.name] });
      return;
    }
    folders.push([...path, entry.name]);
    const reader = entry.createReader();
    for (;;) {
      // it yields some entries at a time, and none at the end
      const some = await new Promise((done, failed) => reader.readEntries(done, failed));
      if (!some.length) break;
      for (const one of some) await walk(one, [...path, entry.name]);
    }
  }
  return (async () => {
    for (const entry of entries) await walk(entry, []);
    return { items, folders };
  })();
}

/** Sends files to a folder. */
export async function upload(reading, folder, page) {
  let found;
  try {
    found = await reading;
  } catch (error) {
    await fail(error);
    return;
  }
  if (!found.items.length && !found.folders.length) return;
  const batch = new Batch(found, folder, page);
  await batch.run();
}

class Batch {
  #stop = new AbortController();
  #all = null; // the answer for all that follow
  #asking = Promise.resolve(); // one question at a time
  #made = new Map(); // folders: their promise

  constructor({ items, folders }, folder, page) {
    Object.assign(this, { items, folders, folder, page });
    this.sent = 0;
    this.bytes = items.reduce((sum, i) => sum + i.file.size, 0);
    this.parts = new Map();
    this.bar = h("progress", { "max": String(Math.max(1, this.bytes)), "value": 0, "aria-label": t("uploads") });
    this.text = h("p", { role: "status" });
    this.cancel = h("button", { onclick: () => this.#stop.abort() }, t("upload.cancel"));
    this.rows = h("ul", {});
    this.box = h(
      "section",
      { "class": "uploads", "aria-label": t("uploads") },
      h("h2", {}, t("uploads")),
      this.bar,
      this.text,
      this.rows,
      this.cancel,
    );
  }

  async run() {
    document.body.append(this.box);
    const leave = (e) => e.preventDefault();
    const out = () => {
      removeEventListener("beforeunload", leave);
      this.#stop.abort();
    };
    addEventListener("beforeunload", leave);
    addEventListener("loggedout", out);
    const queue = this.items.map((item) => ({ item, href: this.folder + item.path.map(segmentOf).join("/") }));
    const outcomes = { done: 0, failed: 0 };
    try {
      for (const path of this.folders) await this.#folderOf([...path, ""]);
      const work = async () => {
        for (let next = queue.shift(); next && !this.#stop.signal.aborted; next = queue.shift()) {
          const ok = await this.#one(next.item, next.href);
          outcomes[ok ? "done" : "failed"]++;
          this.#progress(outcomes);
        }
      };
      this.#progress(outcomes);
      await Promise.all(Array.from({ length: atOnce }, work));
    } catch (error) {
      await fail(error);
    }
    removeEventListener("beforeunload", leave);
    removeEventListener("loggedout", out);
    await this.page.reload().catch(fail);
    tell(t("upload.done", outcomes.done, this.items.length));
    this.cancel.replaceWith(h("button", { onclick: () => this.box.remove() }, t("close")));
    if (!this.rows.children.length) this.box.remove();
  }

  #progress({ done }) {
    let sent = this.sent;
    for (const part of this.parts.values()) sent += part;
    this.bar.value = sent;
    this.text.textContent = t("upload.done", done, this.items.length);
  }

  /** Makes the folders of a path below the folder, each once. */
  async #folderOf(path) {
    let href = this.folder;
    for (const segment of path.slice(0, -1)) {
      href += segmentOf(segment) + "/";
      if (!this.#made.has(href))
        this.#made.set(
          href,
          requests.makeFolder(href).catch((e) => {
            if (e.status !== 405) throw e;
          }),
        );
      await this.#made.get(href);
    }
  }

  /** Sends one file, and reports whether it is there now. */
  async #one(item, href) {
    const state = h("span", {}, t("upload.waits"));
    const bar = h("progress", {
      "max": String(Math.max(1, item.file.size)),
      "value": 0,
      "aria-label": shown(item.path.join("/")),
    });
    const row = h("li", {}, h("bdi", {}, shown(item.path.join("/"))), state, bar);
    this.rows.append(row);
    try {
      await this.#folderOf(item.path);
      const outcome = await this.#send(item, href, (n) => {
        bar.value = n;
        this.parts.set(item, n);
        this.#progress({ done: this.done ?? 0 });
      });
      if (outcome === "done") {
        row.remove();
        return true;
      }
      state.textContent = t("upload.skipped");
      bar.remove();
      return false;
    } catch (error) {
      bar.remove();
      state.classList.add("failed");
      state.textContent = error.name === "AbortError" ? t("upload.cancelled") : t("upload.failed", error.message);
      return false;
    } finally {
      this.parts.delete(item);
      this.sent += item.file.size;
      this.done = (this.done ?? 0) + 1;
    }
  }

  /** Sends a file under the condition of what was shown, until that is what is there. */
  async #send(item, href, progress) {
    const large = await inParts(item.file);
    const parts = (to) => (large ? new Resumable(to, item.file, progress, this.#stop.signal) : null);
    const none = { "If-None-Match": "*" };
    let condition = none,
      answered = false,
      sending = parts(href);
    try {
      for (;;) {
        const answer = sending
          ? await sending.send(condition)
          : await put(href, item.file, condition, progress, this.#stop.signal);
        if (answer.status === 201 || answer.status === 204) return ((sending = null), "done");
        if (answer.status !== 412 && answer.status !== 405)
          throw new Error(answer.problem.detail || `${answer.status}`);
        const there = await requests.look(href);
        if (!there) {
          condition = none; // it has gone meanwhile
          continue;
        }
        const choice = await this.#question(item, there, answered);
        if (!choice || choice.value === "skip") return "skipped";
        answered = choice.value === "replace";
        if (answered) {
          condition = { "If-Match": there.etag };
        } else {
          sending?.drop();
          href = otherName(href);
          condition = none;
          sending = parts(href);
        }
      }
    } finally {
      sending?.drop();
    }
  }

  /** Asks what to do, one question at a time. An answer for all is not one about what has changed since it was given. */
  async #question(item, there, again) {
    const before = this.#asking;
    let free;
    this.#asking = new Promise((resolve) => {
      free = resolve;
    });
    await before;
    try {
      this.#stop.signal.throwIfAborted();
      if (this.#all && !again && !(this.#all.value === "replace" && there.collection)) return this.#all;
      const same = await sameContent(item.file, there);
      const mine = {
        name: item.file.name,
        size: item.file.size,
        modified: new Date(item.file.lastModified).toISOString(),
      };
      const choice = await askTaken(
        mine,
        { ...there, name: item.path.join("/") },
        { again, many: this.items.length > 1, replace: !there.collection, same },
      );
      if (choice?.all) this.#all = choice;
      return choice;
    } finally {
      free();
    }
  }
}

/** Reports whether a file has the content that is there; undefined if that cannot be told here. */
async function sameContent(file, there) {
  if (there.collection) return undefined;
  if (file.size !== there.size) return false;
  if (file.size > comparable || !there.etag || !globalThis.crypto?.subtle) return undefined;
  return (await tagOf(file)) === there.etag;
}

/** Sends a file as a whole. */
function put(href, file, condition, progress, signal) {
  const headers = { ...condition };
  if (file.lastModified) headers["X-OC-Mtime"] = String(Math.floor(file.lastModified / 1000));
  return exchange("PUT", href, { headers, body: file, progress, signal });
}
