// Questions, and what is told in passing.
import { h } from "./dom.js";
import { t } from "./strings.js";

/**
 * Shows a dialog, and returns the value of the button that closes it, or null for Escape.
 * @param {string} title
 * @param {Array} body elements and texts
 * @param {Array<{label: string, value: any, kind?: "main"|"danger", check?: () => string}>} buttons check returns why the
 *   dialog cannot be closed so, or "". The main one is that of Enter in a field.
 */
export function ask(title, body, buttons, { wide = false, kind = "" } = {}) {
  return new Promise((resolve) => {
    const heading = h("h2", { id: `dialog-${++count}` }, title);
    const problem = h("p", { class: "problem", role: "alert" });
    const close = (button) => {
      const why = button?.check?.() || "";
      problem.textContent = why;
      if (why) return;
      takeAway(dialog);
      resolve(button ? button.value : null);
    };
    const main = buttons.find((b) => b.kind === "main");
    const form = h(
      "form",
      {
        method: "dialog",
        onsubmit: (e) => {
          e.preventDefault();
          if (main) close(main);
        },
      },
      heading,
      h("div", { class: "body" }, body),
      problem,
      h(
        "div",
        { class: "buttons" },
        buttons.map((b) =>
          h(
            "button",
            {
              type: b.kind === "main" ? "submit" : "button",
              class: b.kind ?? "",
              onclick: (e) => {
                e.preventDefault();
                close(b);
              },
            },
            b.label,
          ),
        ),
      ),
    );
    const dialog = h(
      "dialog",
      {
        "aria-labelledby": heading.id,
        class: (wide ? "wide " : "") + kind,
        oncancel: (e) => {
          e.preventDefault();
          close(null);
        },
      },
      form,
    );
    document.body.append(dialog);
    dialog.showModal();
    (dialog.querySelector("[autofocus]") ?? dialog.querySelector("input, select, textarea, button"))?.focus();
  });
}

let count = 0;

/** Asks for a line of text. valid returns why a text cannot be taken, or "". */
export async function askText(title, label, value, valid) {
  const input = h("input", { value, autofocus: true, autocomplete: "off", spellcheck: "false", id: `field-${count}` });
  const dot = value.lastIndexOf(".");
  const answer = ask(
    title,
    [h("label", { for: input.id }, label), input],
    [
      { label: t("cancel"), value: null },
      { label: t("ok"), value: true, kind: "main", check: () => valid(input.value) },
    ],
  );
  input.setSelectionRange(0, dot > 0 ? dot : value.length); // now: later, the reader may have begun to type
  return (await answer) ? input.value : null;
}

const status = document.getElementById("status");
const place = status.parentElement;
status.setAttribute("role", "status");

/** Closes a dialog. What is told in it goes on to be told outside. */
export function takeAway(dialog) {
  dialog.close();
  if (dialog.contains(status)) place.append(status);
  dialog.remove();
}

/** Tells something in passing. action is {label, run}. */
export function tell(text, action) {
  const note = h(
    "div",
    { class: "note" },
    h("span", {}, text),
    action &&
      h(
        "button",
        {
          onclick: () => {
            note.remove();
            action.run();
          },
        },
        action.label,
      ),
    h("button", { class: "quiet", "aria-label": t("dismiss"), onclick: () => note.remove() }, "×"),
  );
  // What is behind a dialog cannot be pressed, and no screen reader tells it.
  const over = [...document.querySelectorAll("dialog[open]")].pop() ?? place;
  if (status.parentElement !== over) over.append(status);
  while (status.children.length > 2) status.firstChild.remove();
  status.append(note);
  setTimeout(
    () => {
      if (!note.matches(":hover, :focus-within")) note.remove();
    },
    action ? 20_000 : 6_000,
  );
}

/** Tells of a failure, and waits until it was read. */
export function fail(error) {
  if (error?.name === "AbortError") return null;
  const unsure = error?.name === "UnsureError";
  const network = error instanceof TypeError;
  console.error(error);
  return ask(
    t(unsure ? "unsure.title" : "failed"),
    [h("p", {}, unsure ? t("unsure.text") : network ? t("offline") : String(error?.message ?? error))],
    [{ label: t("close"), value: true, kind: "main" }],
  );
}
