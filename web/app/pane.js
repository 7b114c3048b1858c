// A pane over the page, for one file.
import { takeAway } from "./dialog.js";
import { h } from "./dom.js";

let count = 0;

/** Opens a pane with a title, and returns its parts. leave is asked before it closes, and can refuse. */
export function openPane(title, leave = async () => true) {
  const heading = h("h2", { id: `pane-${++count}` }, h("bdi", {}, title));
  const state = h("span", { class: "state", role: "status" });
  const bar = h("div", { class: "bar" }, heading, state);
  const notice = h("p", { class: "notice", role: "status" });
  const content = h("div", { class: "content" });
  const dialog = h(
    "dialog",
    {
      class: "full",
      "aria-labelledby": heading.id,
      oncancel: (e) => {
        e.preventDefault();
        close();
      },
    },
    h("div", { class: "pane" }, bar, notice, content),
  );
  let end;
  const closed = new Promise((resolve) => (end = resolve));
  dialog.addEventListener("close", () => end()); // a browser can close it, too
  async function close(force = false) {
    if (!dialog.open || (!force && !(await leave()))) return;
    takeAway(dialog);
    end(); // before any other event: the reader may open the same file next
  }
  document.body.append(dialog);
  dialog.showModal();
  return {
    bar,
    content,
    notice,
    state,
    dialog,
    close,
    closed,
    add: (label, run, kind = "") => {
      const button = h("button", { class: kind, onclick: run }, label);
      bar.append(button);
      return button;
    },
  };
}
