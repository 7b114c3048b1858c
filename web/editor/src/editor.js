// What the page needs of CodeMirror: an editor for one text, and two texts side by side. Both are in a shadow root, whose
// style sheets a page may have that permits no inline styles.
import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { css } from "@codemirror/lang-css";
import { html } from "@codemirror/lang-html";
import { javascript } from "@codemirror/lang-javascript";
import { json } from "@codemirror/lang-json";
import { markdown } from "@codemirror/lang-markdown";
import { python } from "@codemirror/lang-python";
import { yaml } from "@codemirror/lang-yaml";
import {
  bracketMatching,
  defaultHighlightStyle,
  HighlightStyle,
  indentOnInput,
  syntaxHighlighting,
} from "@codemirror/language";
import { MergeView } from "@codemirror/merge";
import { highlightSelectionMatches, searchKeymap } from "@codemirror/search";
import { EditorState } from "@codemirror/state";
import {
  drawSelection,
  EditorView,
  highlightActiveLine,
  highlightSpecialChars,
  keymap,
  lineNumbers,
} from "@codemirror/view";
import { tags } from "@lezer/highlight";

const languages = [
  [/\.(md|markdown)$/i, markdown],
  [/\.[cm]?jsx?$/i, javascript],
  [/\.[cm]?tsx?$/i, () => javascript({ typescript: true })],
  [/\.(css|scss|less)$/i, css],
  [/\.(html?|vue|svg|xml)$/i, html],
  [/\.py$/i, python],
  [/\.jsonl?$/i, json],
  [/\.ya?ml$/i, yaml],
];

const dark = () => matchMedia("(prefers-color-scheme: dark)").matches;

const darkStyle = HighlightStyle.define([
  { tag: [tags.keyword, tags.operatorKeyword], color: "#c9a4ff" },
  { tag: [tags.string, tags.special(tags.string)], color: "#a5d6a7" },
  { tag: [tags.comment, tags.meta], color: "#9aa7b4" },
  { tag: [tags.number, tags.bool, tags.atom], color: "#ffb38a" },
  { tag: [tags.heading, tags.strong], fontWeight: "bold" },
  { tag: tags.emphasis, fontStyle: "italic" },
  { tag: [tags.propertyName, tags.attributeName], color: "#8ecbff" },
  { tag: [tags.tagName, tags.typeName, tags.className], color: "#7fd7d0" },
  { tag: [tags.link, tags.url], color: "#8ecbff", textDecoration: "underline" },
]);

function look() {
  return [
    EditorView.theme(
      {
        "&": { height: "100%", backgroundColor: "transparent", color: "inherit", fontSize: "0.95rem" },
        ".cm-scroller": { fontFamily: "ui-monospace, monospace", lineHeight: "1.45" },
        ".cm-gutters": { backgroundColor: "transparent", color: "var(--faint)", border: "none" },
        ".cm-content": { caretColor: "currentColor" },
        ".cm-activeLine": { backgroundColor: "#8881" },
        "&.cm-focused": { outline: "2px solid var(--main)", outlineOffset: "-2px" },
        ".cm-panels": { backgroundColor: "var(--panel)", color: "inherit" },
      },
      { dark: dark() },
    ),
    syntaxHighlighting(dark() ? darkStyle : defaultHighlightStyle),
    EditorView.lineWrapping,
    highlightSpecialChars(),
    lineNumbers(),
  ];
}

/** A place for a view, whose styles are its own. */
function shadow(parent) {
  const host = document.createElement("div");
  host.style.minHeight = "0"; // by the object model, which no policy forbids
  host.style.height = "100%";
  parent.append(host);
  return { host, root: host.attachShadow({ mode: "open" }) };
}

/** An editor of one text. Its text has the line ends that it was given. */
export class Editor {
  #ends = "\n";
  #language;

  constructor(parent, { text, name, readOnly, label, onchange, onsave }) {
    Object.assign(this, { readOnly, label, onchange, onsave });
    this.#language = languages.find(([pattern]) => pattern.test(name))?.[1] ?? null;
    const { host, root } = shadow(parent);
    this.host = host;
    this.view = new EditorView({ parent: root, root, state: this.#state(text) });
  }

  /** Where all lines end with CR LF, they do so again. Where they differ, each CR is a character of its line. */
  #state(text) {
    const ends = text.match(/\r\n|\n|\r/g) ?? [];
    this.#ends = ends.length > 0 && ends.every((e) => e === "\r\n") ? "\r\n" : "\n";
    return EditorState.create({
      doc: text,
      extensions: [
        EditorState.lineSeparator.of(this.#ends),
        EditorState.readOnly.of(this.readOnly),
        EditorView.editable.of(!this.readOnly),
        look(),
        history(),
        drawSelection(),
        indentOnInput(),
        bracketMatching(),
        highlightActiveLine(),
        highlightSelectionMatches(),
        keymap.of([
          {
            key: "Mod-s",
            run: () => {
              this.onsave();
              return true;
            },
          },
          ...defaultKeymap,
          ...searchKeymap,
          ...historyKeymap,
          indentWithTab,
        ]),
        this.#language?.() ?? [],
        EditorView.contentAttributes.of({ "aria-label": this.label, tabindex: "0" }),
        EditorView.updateListener.of((update) => {
          if (update.docChanged) this.onchange();
        }),
      ],
    });
  }

  get text() {
    return this.view.state.sliceDoc();
  }

  set text(text) {
    this.view.setState(this.#state(text));
    this.onchange();
  }

  set hidden(hidden) {
    this.host.hidden = hidden;
  }
  focus() {
    this.view.focus();
  }
  destroy() {
    this.view.destroy();
    this.host.remove();
  }

  /** Shows two texts side by side, which cannot be changed. */
  static compare(parent, before, after, labels) {
    const { host, root } = shadow(parent);
    const side = (doc, label) => ({
      doc,
      extensions: [
        look(),
        EditorState.readOnly.of(true),
        EditorView.editable.of(false),
        EditorView.contentAttributes.of({ "aria-label": label, tabindex: "0" }),
      ],
    });
    const view = new MergeView({
      parent: root,
      root,
      a: side(before, labels[0]),
      b: side(after, labels[1]),
      collapseUnchanged: { margin: 3, minSize: 6 },
      gutter: true,
      diffConfig: { scanLimit: 500, timeout: 2000 },
    });
    return {
      destroy: () => {
        view.destroy();
        host.remove();
      },
    };
  }
}
