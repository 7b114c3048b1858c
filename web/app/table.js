// The rows of a folder: sorted, filtered, selected. Of many rows only those in view are in the document.
import { date, fill, h, name, size } from "./dom.js";
import { t } from "./strings.js";

const whole = 1000; // so many rows are in the document at once, without a window
const beyond = 30; // rows above and below the window that are in the document too
const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

/** @typedef {import("./requests.js").Row} Row */

export class Table {
  #rows = []; // all
  #shown = []; // those that the filter lets pass, in their order
  #key = "name";
  #down = false;
  #filter = "";
  #first = -1;
  #anchor = null;
  selected = new Set(); // hrefs

  /**
   * @param {HTMLTableElement} table
   * @param {{open: (row: Row) => void, menu: (row: Row) => void, changed: () => void, drop: (e: DragEvent, href: string) => void}} on
   */
  constructor(table, on) {
    this.on = on;
    this.body = table.tBodies[0];
    this.table = table;
    this.all = h("input", {
      type: "checkbox",
      "aria-label": t("select.all"),
      onchange: () => this.selectAll(this.all.checked),
    });
    this.heads = { name: null, size: null, modified: null };
    table.tHead.replaceChildren(
      h(
        "tr",
        {},
        h("td", { class: "pick" }, this.all),
        ["name", "size", "modified"].map(
          (key) =>
            (this.heads[key] = h(
              "th",
              { scope: "col", class: key },
              h("button", { onclick: () => this.sortBy(key) }, t(key === "modified" ? "changed" : key)),
            )),
        ),
        h("td", {}),
      ),
    );
    addEventListener("scroll", () => this.#window(false), { passive: true });
    addEventListener("resize", () => this.#window(false), { passive: true });
    this.body.addEventListener("keydown", (e) => this.#key_(e));
    this.body.addEventListener("click", (e) => this.#click(e));
    this.body.addEventListener("dragstart", (e) => this.#drag(e));
    for (const type of ["dragover", "dragleave", "drop"]) this.body.addEventListener(type, (e) => this.#over(e));
  }

  /** @param {Row[]} rows */
  show(rows) {
    this.#rows = rows.map((r) => ({ ...r, time: Date.parse(r.modified ?? "") || 0 }));
    const there = new Set(rows.map((r) => r.href));
    for (const href of this.selected) if (!there.has(href)) this.selected.delete(href);
    this.#arrange();
  }

  get rows() {
    return this.#rows;
  }
  get count() {
    return this.#shown.length;
  }
  row(href) {
    return this.#rows.find((r) => r.href === href);
  }
  chosen() {
    return this.#rows.filter((r) => this.selected.has(r.href));
  }

  filter(text) {
    this.#filter = text.normalize().toLocaleLowerCase();
    this.#arrange();
  }

  sortBy(key) {
    this.#down = this.#key === key && !this.#down;
    this.#key = key;
    this.#arrange();
  }

  selectAll(on) {
    this.selected = new Set(on ? this.#shown.map((r) => r.href) : []);
    this.#picked();
  }

  focus(href) {
    const at = this.#shown.findIndex((r) => r.href === href);
    if (at >= 0) this.#focusAt(at);
  }

  #arrange() {
    const by = {
      name: (a, b) => collator.compare(a.name, b.name) || (a.href < b.href ? -1 : 1),
      size: (a, b) => a.size - b.size || by.name(a, b),
      modified: (a, b) => a.time - b.time || by.name(a, b),
    };
    const compare = by[this.#key],
      turn = this.#down ? -1 : 1;
    this.#shown = this.#rows
      .filter((r) => !this.#filter || r.name.normalize().toLocaleLowerCase().includes(this.#filter))
      .sort((a, b) => Boolean(b.collection) - Boolean(a.collection) || turn * compare(a, b));
    for (const [key, head] of Object.entries(this.heads)) {
      if (key === this.#key) head.setAttribute("aria-sort", this.#down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
    const some = new Set(this.#shown.map((r) => r.href));
    for (const href of this.selected) if (!some.has(href)) this.selected.delete(href); // what is not seen is not acted on
    this.#window(true);
    this.#picked();
  }

  /** Puts the rows in view into the document. anew: the rows are others. */
  #window(anew) {
    const n = this.#shown.length;
    let first = 0,
      last = n;
    if (n > whole) {
      const height = this.body.rows[1]?.offsetHeight || 45;
      const top = -this.body.getBoundingClientRect().top;
      first = Math.max(0, Math.min(n, Math.floor(top / height) - beyond));
      first -= first % 10;
      last = Math.min(n, first + Math.ceil(innerHeight / height) + 2 * beyond + 10);
      this.rowHeight = height;
    }
    if (!anew && (first === this.#first || n <= whole)) return;
    this.#first = first;
    const focused = document.activeElement;
    const there = new Map(Array.from(this.body.rows, (tr) => [tr.dataset.href, tr]));
    const rows = this.#shown.slice(first, last).map((r, i) => this.#update(there.get(r.href) ?? this.#element(r), r, first + i));
    const gap = (rows) =>
      rows > 0 ? [h("tr", { "aria-hidden": "true", class: "gap" }, h("td", { colspan: "5" }))] : [];
    const above = gap(first),
      below = gap(n - last);
    above[0]?.firstChild.style.setProperty("height", `${first * (this.rowHeight ?? 0)}px`);
    below[0]?.firstChild.style.setProperty("height", `${(n - last) * (this.rowHeight ?? 0)}px`);
    fill(this.body, [...above, ...rows, ...below]);
    if (n > whole) this.table.setAttribute("aria-rowcount", String(n + 1));
    else this.table.removeAttribute("aria-rowcount");
    if (this.body.contains(focused) && focused !== document.activeElement) focused.focus({ preventScroll: true }); // it was moved
  }

  /** Writes what can change about a member into its row. A row stays the element that it was, and keeps focus and press. */
  #update(tr, r, at) {
    if (this.#shown.length > whole) tr.setAttribute("aria-rowindex", String(at + 2));
    else tr.removeAttribute("aria-rowindex");
    const when = date(r.modified),
      bytes = r.collection ? "" : size(r.size);
    if (tr.cells[2].textContent === bytes && tr.cells[3].textContent === when) return tr;
    tr.cells[1].lastChild.textContent = [bytes, when].filter(Boolean).join(" · ");
    tr.cells[2].textContent = bytes;
    tr.cells[3].replaceChildren(...(when ? [h("time", { datetime: r.modified }, when)] : []));
    return tr;
  }

  #element(r) {
    const label = r.collection ? r.name + "/" : r.name;
    return h(
      "tr",
      {
        "data-href": r.href,
        draggable: "true",
        class: this.selected.has(r.href) ? "selected" : null,
      },
      h(
        "td",
        { class: "pick" },
        h("input", { type: "checkbox", checked: this.selected.has(r.href), "aria-label": t("select", label) }),
      ),
      h(
        "td",
        { class: "name" },
        h("a", { href: r.href, class: r.collection ? "dir" : null, title: label, draggable: "false" }, name(label)),
        h("span", { class: "meta", "aria-hidden": "true" }),
      ),
      h("td", { class: "size" }),
      h("td", { class: "modified" }),
      h(
        "td",
        { class: "more" },
        h("button", { class: "quiet", "aria-label": t("actions", label), title: t("actions.title") }, "⋯"),
      ),
    );
  }

  #picked() {
    for (const tr of this.body.rows) {
      if (!tr.dataset.href) continue;
      const on = this.selected.has(tr.dataset.href);
      tr.classList.toggle("selected", on);
      tr.querySelector("input").checked = on;
    }
    this.all.checked = this.#shown.length > 0 && this.selected.size === this.#shown.length;
    this.all.indeterminate = this.selected.size > 0 && !this.all.checked;
    this.on.changed();
  }

  #toggle(href, on = !this.selected.has(href)) {
    if (on) this.selected.add(href);
    else this.selected.delete(href);
    this.#anchor = href;
    this.#picked();
  }

  #range(href) {
    const at = (h) => this.#shown.findIndex((r) => r.href === h);
    const [a, b] = [Math.max(0, at(this.#anchor)), at(href)].sort((x, y) => x - y);
    for (const r of this.#shown.slice(a, b + 1)) this.selected.add(r.href);
    this.#picked();
  }

  #click(e) {
    const tr = e.target.closest("tr[data-href]");
    if (!tr) return;
    const row = this.row(tr.dataset.href);
    if (e.target.matches("input")) {
      if (e.shiftKey && this.#anchor) this.#range(row.href);
      else this.#toggle(row.href, e.target.checked);
    } else if (e.target.closest("button")) {
      this.on.menu(row);
    } else if (e.target.closest("a")) {
      if (e.ctrlKey || e.metaKey || e.shiftKey || e.button !== 0 || row.collection) return; // as any link
      e.preventDefault();
      this.on.open(row);
    }
  }

  #key_(e) {
    const tr = e.target.closest("tr[data-href]");
    if (!tr) return;
    const at = this.#shown.findIndex((r) => r.href === tr.dataset.href);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: this.#shown.length - 1 }[e.key];
    if (to !== undefined) {
      e.preventDefault();
      this.#focusAt(Math.max(0, Math.min(this.#shown.length - 1, to)));
    } else if (e.key === " " && e.target.matches("a")) {
      e.preventDefault();
      this.#toggle(tr.dataset.href);
    }
  }

  #focusAt(at) {
    const href = this.#shown[at].href;
    const find = () => [...this.body.rows].find((tr) => tr.dataset.href === href)?.querySelector("a");
    if (!find() && this.rowHeight) {
      scrollTo({
        top: this.body.getBoundingClientRect().top + scrollY + at * this.rowHeight - innerHeight / 2,
        behavior: "instant",
      });
      this.#window(true);
    }
    find()?.focus();
    find()?.scrollIntoView({ block: "nearest" });
  }

  #drag(e) {
    const href = e.target.closest?.("tr[data-href]")?.dataset.href;
    if (!href) return;
    if (!this.selected.has(href)) {
      this.selected = new Set([href]);
      this.#picked();
    }
    e.dataTransfer.setData(dragged, JSON.stringify([...this.selected]));
    e.dataTransfer.effectAllowed = "copyMove";
  }

  #over(e) {
    const tr = e.target.closest?.("tr[data-href]");
    const into = tr && this.row(tr.dataset.href)?.collection && !this.selected.has(tr.dataset.href);
    for (const other of this.body.querySelectorAll(".over")) other.classList.remove("over");
    if (!into || e.type === "dragleave" || ![dragged, "Files"].some((type) => e.dataTransfer.types.includes(type)))
      return;
    e.preventDefault();
    e.stopPropagation();
    if (e.type === "dragover") tr.classList.add("over");
    else this.on.drop(e, tr.dataset.href);
  }
}

/** The type of what is dragged from a row: the hrefs of rows of this page. */
export const dragged = "application/x-ifmatch-rows";
