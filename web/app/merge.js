// Merges two versions of a text by their lines, and has a person decide where both have changed the same ones.
import { ask } from "./dialog.js";
import { h } from "./dom.js";
import { assets } from "./requests.js";
import { t } from "./strings.js";

const patience = 10_000; // milliseconds that a comparison may take

/** Returns the lines of a text, each with its own end, so that joining them yields the same text. */
export const asLines = (text) => text.match(/[^\n]*\n|[^\n]+$/g) ?? [];

// The only address of a script that this page makes is that of its own worker.
const policy = globalThis.trustedTypes?.createPolicy("ifmatch-worker", {
  createScriptURL: (url) => {
    if (url !== `${assets}merge-worker.js`) throw new TypeError("not the worker of this page");
    return url;
  },
});

/**
 * Merges in a worker, so that the page stays usable, and ends it when it takes too long.
 * @returns {Promise<Array<{ok: string[]}|{mine: string[], base: string[], theirs: string[]}>>}
 */
export function merge(mine, base, theirs) {
  const url = `${assets}merge-worker.js`;
  const worker = new Worker(policy ? policy.createScriptURL(url) : url);
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(t("too.large"))), patience);
    worker.onmessage = (e) => {
      clearTimeout(timer);
      e.data.error ? reject(new Error(e.data.error)) : resolve(e.data.regions);
    };
    worker.onerror = (e) => {
      clearTimeout(timer);
      reject(new Error(e.message || "worker"));
    };
    worker.postMessage({ mine, base, theirs });
  }).finally(() => worker.terminate());
}

/**
 * Shows both versions until the reader has decided.
 * @returns {Promise<{use: "merged"|"mine"|"theirs"|"both", text: string}|null>} null: nothing is decided
 */
export async function resolve(title, regions, { mine, theirs, base, Editor, sure }) {
  const conflicts = regions.filter((r) => !r.ok);
  for (;;) {
    const answer = conflicts.length
      ? await decide(title, regions, conflicts, base)
      : await look(title, regions, theirs, Editor);
    if (answer?.use === "mine") {
      if (!(await sure())) continue;
      return { use: "mine", text: mine };
    }
    return answer;
  }
}

const others = () => [
  { label: t("cancel"), value: null },
  { label: t("merge.use.mine"), value: { use: "mine" }, kind: "danger" },
  { label: t("merge.use.theirs"), value: { use: "theirs" } },
  { label: t("keep.both"), value: { use: "both" } },
];

/** Nothing overlaps: shows the result beside theirs. */
async function look(title, regions, theirs, Editor) {
  const text = regions.flatMap((r) => r.ok).join("");
  const place = h("div", { class: "content" });
  const shown = Editor.compare(place, theirs, text, [t("merge.theirs"), t("merge.save")]);
  try {
    return await ask(
      t("merge.title", title),
      [h("p", {}, t("merge.clean")), place],
      [...others(), { label: t("merge.save"), value: { use: "merged", text }, kind: "main" }],
      { wide: true },
    );
  } finally {
    shown.destroy();
  }
}

/** Asks for each place where both have changed the same lines. */
function decide(title, regions, conflicts, base) {
  const left = h("p", { role: "status" });
  const forms = new Map(conflicts.map((r, i) => [r, new Place(r, i, conflicts.length, update)]));
  const text = () => regions.flatMap((r) => r.ok ?? forms.get(r).lines()).join("");
  function update() {
    left.textContent = t("merge.left", [...forms.values()].filter((f) => !f.decided).length);
  }
  function go(step) {
    const all = [...forms.values()];
    const at = all.findIndex((f) => f.element.contains(document.activeElement));
    all[(at + step + all.length) % all.length].focus();
  }
  update();
  const answer = { use: "merged" };
  const body = [
    h("p", {}, t("merge.overlap"), base === null ? ` ${t("merge.no.base")}` : ""),
    left,
    h(
      "div",
      { class: "buttons" },
      h("button", { type: "button", onclick: () => go(-1) }, t("merge.previous")),
      h("button", { type: "button", onclick: () => go(1) }, t("merge.next")),
    ),
    h(
      "div",
      { class: "regions" },
      regions.map((r) => (r.ok ? h("p", { class: "same" }, t("merge.same", r.ok.length)) : forms.get(r).element)),
    ),
  ];
  return ask(
    t("merge.title", title),
    body,
    [
      ...others(),
      {
        label: t("merge.save"),
        value: answer,
        kind: "main",
        check: () => {
          const open = [...forms.values()].find((f) => !f.decided);
          open?.focus();
          answer.text = text();
          return open ? left.textContent : "";
        },
      },
    ],
    { wide: true },
  );
}

let places = 0;

/** A place where both have changed the same lines. */
class Place {
  constructor(region, i, n, update) {
    const id = `place-${++places}`;
    this.region = region;
    this.edited = h("textarea", {
      hidden: true,
      "aria-label": t("merge.edited"),
      value: region.mine.concat(region.theirs).join(""),
      spellcheck: "false",
    });
    const side = (kind, lines) =>
      h(
        "div",
        { class: `side ${kind}` },
        h("h3", {}, t(`merge.${kind}`)),
        h("pre", { tabindex: "0" }, lines.length ? lines.join("") : t("merge.empty")),
      );
    const choice = (value) =>
      h(
        "label",
        {},
        h("input", {
          type: "radio",
          name: id,
          value,
          onchange: () => {
            this.decided = value;
            this.edited.hidden = value !== "edited";
            this.element.classList.remove("open");
            update();
          },
        }),
        t(`merge.${value}`),
      );
    this.element = h(
      "fieldset",
      { class: "region open" },
      h("legend", {}, t("merge.region", i + 1, n)),
      h("div", { class: "sides" }, side("mine", region.mine), side("base", region.base), side("theirs", region.theirs)),
      h("div", { class: "choices" }, ["mine", "theirs", "both", "edited"].map(choice)),
      this.edited,
    );
  }

  focus() {
    const radio = this.element.querySelector("input:checked") ?? this.element.querySelector("input");
    radio.focus();
    this.element.scrollIntoView({ block: "center" });
  }

  lines() {
    const { mine, theirs } = this.region;
    switch (this.decided) {
      case "mine":
        return mine;
      case "theirs":
        return theirs;
      case "both":
        return withEnd(mine).concat(theirs);
      default:
        return [this.#ownLines()];
    }
  }

  /** What was edited, with the line ends of the file: a text area has others. */
  #ownLines() {
    const crlf = this.region.mine.concat(this.region.theirs).some((line) => line.endsWith("\r\n"));
    return crlf ? this.edited.value.replace(/\r?\n/g, "\r\n") : this.edited.value;
  }
}

/** Lines to which others are added: the last one must end. */
function withEnd(lines) {
  const last = lines.at(-1);
  return last === undefined || last.endsWith("\n") ? lines : [...lines.slice(0, -1), last + "\n"];
}
