// Edits a text, and ends a conflict in a merge.
import { ConflictError, create, HTTPError, read, save } from "./client.js";
import { ask, fail, tell } from "./dialog.js";
import { baseOf, h, shown } from "./dom.js";
import * as drafts from "./drafts.js";
import { watch } from "./live.js";
import { reader } from "./login.js";
import { asLines, merge, resolve } from "./merge.js";
import { openPane } from "./pane.js";
import * as requests from "./requests.js";
import { otherName } from "./actions.js";
import { t } from "./strings.js";
import { inTurn } from "./turns.js";

const { Editor } = await import(requests.assets + "editor.js");

/** A frame for one HTML file. It has no origin, so it can reach nothing here, and is asked for nothing else with a password. */
const sandboxed = (href, base) =>
  h("iframe", { src: href, sandbox: "", referrerpolicy: "no-referrer", title: t("frame", shown(base)) });

/** Opens a text file until the reader closes it, if that is still wanted when it has come. */
export async function edit(row, page, wanted) {
  const editing = new Editing(row.href, page);
  const unwatch = watch((changed) => (!changed || changed.includes(row.href)) && editing.look());
  try {
    await editing.open(wanted);
  } finally {
    unwatch();
  }
}

class Editing {
  constructor(href, page) {
    Object.assign(this, { href, page, name: shown(baseOf(href)) });
    this.draft = drafts.keyOf(reader(), href); // once: a reader who logs in to save has begun it before
  }

  /** Looks at what others have done. One look is on its way at most, so that none comes after a newer one. */
  look = inTurn(() => this.#look());

  async open(wanted) {
    this.base = await read(this.href);
    if (!wanted()) return;
    if (!this.base.isText) {
      const answer = await ask(
        this.name,
        [h("p", {}, t("not.text"))],
        [
          { label: t("close"), value: null },
          { label: t("download"), value: true, kind: "main" },
        ],
      );
      if (answer) location.assign(this.href);
      return;
    }
    this.mayWrite = this.page.may("replace");
    this.pane = openPane(this.name, () => this.#leave());
    const html = /\.html?$/i.test(baseOf(this.href));
    if (html) this.previewButton = this.pane.add(t("preview"), () => this.#preview());
    if (this.page.may("history"))
      this.pane.add(t("history"), async () =>
        (await import("./history.js")).showHistory({ href: this.href, name: this.name }, this.page),
      );
    if (this.mayWrite) this.saveButton = this.pane.add(t("save"), () => this.save(), "main");
    this.pane.add(t("close"), () => this.pane.close());
    this.editor = new Editor(this.pane.content, {
      text: this.base.text,
      name: baseOf(this.href),
      readOnly: !this.mayWrite,
      label: t("edit.wrap", this.name),
      onchange: () => this.#changed(),
      onsave: () => this.save(),
    });
    this.#state(this.mayWrite ? "" : t("edit.readonly"));
    const leave = (e) => {
      if (this.dirty) e.preventDefault();
    };
    const out = () => {
      clearTimeout(this.timer);
      this.editor.onchange = () => {};
      removeEventListener("beforeunload", leave);
    };
    addEventListener("beforeunload", leave);
    addEventListener("loggedout", out);
    await this.#offerDraft();
    this.ready = true;
    if (this.unseen) this.look();
    this.editor.focus();
    await this.pane.closed;
    removeEventListener("beforeunload", leave);
    removeEventListener("loggedout", out);
    this.editor.destroy();
  }

  get dirty() {
    return this.editor.text !== this.base.text;
  }

  #state(text) {
    this.pane.state.textContent = text;
  }

  #changed() {
    this.#state(this.dirty ? t("edit.unsaved") : "");
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#keepDraft(), 400);
  }

  // ---- the draft

  #keepDraft() {
    if (!this.dirty) drafts.drop(this.draft);
    else drafts.keep(this.draft, { text: this.editor.text, etag: this.base.etag, base: this.base.text });
  }

  #dropDraft() {
    clearTimeout(this.timer);
    drafts.drop(this.draft);
  }

  async #offerDraft() {
    const draft = drafts.read(this.draft);
    if (!draft || draft.text === this.base.text) return this.#dropDraft();
    const use = await ask(
      t("edit.draft", this.name),
      [],
      [
        { label: t("edit.draft.drop"), value: false },
        { label: t("edit.draft.use"), value: true, kind: "main" },
      ],
    );
    if (!use) return use === false && this.#dropDraft();
    // The draft is of the version that it was begun with. Where that is another one, saving ends in a merge.
    if (draft.etag !== this.base.etag) this.base = { ...this.base, text: draft.base, etag: draft.etag };
    this.editor.text = draft.text;
    this.#changed();
  }

  // ---- others

  /** Looks at what is there: later, if the text is being loaded or saved. What the reader has done meanwhile is newer. */
  async #look() {
    this.unseen = this.saving || !this.ready;
    if (this.unseen) return;
    const { base } = this;
    try {
      const now = await requests.look(this.href);
      const other = now && now.etag !== base.etag;
      const version = other && !this.dirty ? await read(this.href) : null;
      if (this.saving || this.base !== base) this.look();
      else if (version && !this.dirty) this.#show(version);
      else this.pane.notice.textContent = !now ? t("edit.gone") : other ? t("edit.changed") : "";
    } catch {
      /* the next change is told again */
    }
  }

  /** Shows a version that is there in place of the one that was loaded. */
  #show(version) {
    this.base = version;
    this.editor.text = version.text;
    clearTimeout(this.timer); // a draft that the reader has not decided about stays
    this.pane.notice.textContent = "";
    this.#state("");
  }

  /** Shows such a version in place of what the reader has typed. */
  #take(version) {
    this.#show(version);
    this.#dropDraft();
  }

  // ---- saving

  async save() {
    if (this.saving || !this.mayWrite) return;
    this.saving = true;
    this.saveButton.disabled = true;
    this.pane.content.inert = true; // what was typed now would be of a text that is about to be another one
    this.#state(t("edit.saving"));
    try {
      await this.#put(this.editor.text, this.base);
    } catch (error) {
      this.#state(t("edit.unsaved"));
      await fail(error);
    } finally {
      this.saving = false;
      this.saveButton.disabled = false;
      this.pane.content.inert = false;
      this.editor.focus();
      if (this.unseen) this.look();
    }
  }

  /** Saves a text in place of a version, or merges it with the one that is there. */
  async #put(text, over) {
    try {
      const { etag } = over.exists
        ? await save(this.href, text, { ifMatch: over.etag })
        : await create(this.href, text);
      this.base = { ...over, exists: true, text, etag, bytes: new TextEncoder().encode(text) };
      if (this.editor.text !== text) this.editor.text = text;
      this.pane.notice.textContent = "";
      this.#dropDraft();
      this.#state(t("edit.saved"));
      this.page.reload().catch(() => {}); // the reader does not wait for it, and can go on
    } catch (error) {
      if (!(error instanceof ConflictError)) throw error;
      this.#state(t("edit.unsaved"));
      await this.#conflict(text, over, error);
    }
  }

  /** Ends a conflict. base is the version that mine was made of. */
  async #conflict(mine, base, error) {
    const theirs =
      error.current ??
      (await read(this.href).catch((e) => {
        if (e instanceof HTTPError && e.status === 404) return null;
        throw e;
      }));
    if (!theirs) return this.#gone(mine);
    if (theirs.text === mine && theirs.isText) {
      // somebody else has saved the same
      this.#take(theirs);
      return this.#state(t("edit.saved"));
    }
    if (!theirs.isText) return this.#cannot(mine, theirs, t("not.text"));
    let regions;
    const known = await this.#baseText(base);
    try {
      regions = await merge(asLines(mine), asLines(known ?? ""), asLines(theirs.text));
    } catch (failed) {
      return this.#cannot(mine, theirs, failed.message);
    }
    const answer = await resolve(this.name, regions, {
      mine,
      theirs: theirs.text,
      base: known,
      Editor,
      sure: () => this.#sure(),
    });
    if (!answer) return; // nothing is saved, and the editor still has the reader's text
    if (answer.use === "theirs") {
      this.#take(theirs);
      tell(t("merge.took"));
      return;
    }
    if (answer.use === "both") return this.#keepBoth(mine, theirs);
    await this.#put(answer.text, theirs); // once more, if it has moved on again
  }

  /** The text of the version that an edit began with: it was loaded, or the history has it. */
  async #baseText(base) {
    if (base.text !== undefined && base.text !== null) return base.text;
    try {
      const { versions } = await requests.history(this.href);
      const kept = versions.find((v) => v.etag === base.etag);
      return kept ? (await read(requests.versionURL(this.href, kept.id))).text : null;
    } catch {
      return null;
    }
  }

  #sure() {
    return ask(
      this.name,
      [h("p", {}, t("merge.sure"))],
      [
        { label: t("cancel"), value: null },
        { label: t("merge.use.mine"), value: true, kind: "danger" },
      ],
    );
  }

  async #gone(mine) {
    const answer = await ask(
      t("merge.title", this.name),
      [h("p", {}, t("merge.gone"))],
      [
        { label: t("cancel"), value: null },
        { label: t("merge.make"), value: true, kind: "main" },
      ],
    );
    if (answer) await this.#put(mine, { ...this.base, exists: false });
  }

  /** What is left where two versions cannot be merged: mine, theirs, or both beside each other. */
  async #cannot(mine, theirs, why) {
    const answer = await ask(
      t("merge.title", this.name),
      [h("p", {}, t("merge.cannot", why))],
      [
        { label: t("cancel"), value: null },
        { label: t("merge.use.mine"), value: "mine", kind: "danger" },
        { label: t("merge.use.theirs"), value: "theirs" },
        { label: t("keep.both"), value: "both", kind: "main" },
      ],
    );
    if (answer === "mine" && (await this.#sure())) await this.#put(mine, theirs);
    if (answer === "theirs") {
      this.#dropDraft();
      await this.pane.close(true);
    }
    if (answer === "both") await this.#keepBoth(mine, theirs);
  }

  async #keepBoth(mine, theirs) {
    for (let href = otherName(this.href); ; href = otherName(href)) {
      try {
        await create(href, mine);
        tell(t("was.made", shown(baseOf(href))));
        break;
      } catch (error) {
        if (!(error instanceof ConflictError)) throw error;
      }
    }
    if (theirs.isText) this.#take(theirs);
    else {
      this.#dropDraft();
      await this.pane.close(true);
    }
    this.page.reload().catch(() => {});
  }

  // ---- leaving

  async #leave() {
    if (!this.dirty) return true;
    const answer = await ask(
      this.name,
      [h("p", {}, t("edit.leave", this.name))],
      [
        { label: t("edit.discard"), value: "discard", kind: "danger" },
        { label: t("save"), value: "save" },
        { label: t("edit.keep"), value: null, kind: "main" },
      ],
    );
    if (answer === "discard") this.#dropDraft();
    if (answer === "save") await this.save();
    return answer === "discard" || (answer === "save" && !this.dirty);
  }

  #preview() {
    const frame = this.pane.content.querySelector("iframe");
    if (frame) {
      frame.remove();
      this.editor.hidden = false;
      this.previewButton.textContent = t("preview");
      return;
    }
    this.editor.hidden = true;
    this.pane.content.append(sandboxed(this.href, baseOf(this.href)));
    this.previewButton.textContent = t("source");
  }
}
