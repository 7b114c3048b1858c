// Share links: URLs by which others read a file or a folder, or drop files into a folder, without a login.
import { refusal } from "./client.js";
import { ask, fail, tell } from "./dialog.js";
import { baseOf, copyText, date, h, shown } from "./dom.js";
import { own } from "./requests.js";
import { t } from "./strings.js";
import { once, wanted } from "./turns.js";

const bare = (href) => href.replace(/\/$/, "");

async function send(method, id = "", body = undefined) {
  const response = await fetch(`${own}links${id && `/${id}`}`, {
    method,
    body: body && JSON.stringify(body),
    headers: body ? { "Content-Type": "application/json" } : {},
    cache: "no-store",
  });
  if (!response.ok) throw await refusal(response);
  return response.status === 204 ? null : response.json();
}

/** Runs something, and tells why it has failed. */
async function tried(what) {
  try {
    return await what();
  } catch (error) {
    await fail(error);
    return null;
  }
}

/** A row of a link. ended is called when the reader has ended it. */
function line(link, ended) {
  const facts = [t(`share.${link.access}`), t("share.until", date(link.expires))];
  if (link.password) facts.push(t("share.protected"));
  const tr = h(
    "tr",
    {},
    h(
      "td",
      {},
      h("bdi", {}, shown(baseOf(link.path)) || "/"),
      link.label && h("p", {}, h("bdi", {}, shown(link.label))),
    ),
    h("td", {}, facts.join(", ")),
    h(
      "td",
      {},
      h(
        "button",
        {
          type: "button",
          onclick: once(() =>
            tried(async () => {
              await send("DELETE", link.id);
              tr.remove();
              tell(t("share.revoked"));
              ended();
            }),
          ),
        },
        t("share.revoke"),
      ),
    ),
  );
  return tr;
}

/** Shows the links to a row, and makes new ones; without a row, it shows all links of the reader. */
export async function showLinks(row, page) {
  const still = wanted();
  await tried(async () => {
    const { links } = await send("GET");
    if (!still()) return;
    const rows = h("tbody");
    const none = h("p", { tabindex: "-1" }, t("share.none"));
    const ended = () => {
      none.hidden = rows.rows.length > 0;
      (rows.querySelector("button") ?? none).focus(); // what had the focus is not there any more
    };
    const made = (link) => {
      none.hidden = true;
      rows.append(line(link, ended));
    };
    links.filter((link) => !row || bare(link.path) === bare(row.href)).forEach(made);
    await ask(
      row ? t("share.title", shown(baseOf(row.href))) : t("share.all"),
      [row && maker(row, page, made), none, h("table", { class: "log" }, rows)],
      [{ label: t("close"), value: null }],
      { wide: true },
    );
  });
}

let count = 0;

/** The fields of a new link. made gets it. */
function maker(row, page, made) {
  const field = (label, input) => {
    input.id = `share-${++count}`;
    return h("p", { class: "field" }, h("label", { for: input.id }, label), input);
  };
  const access = h(
    "select",
    {},
    h("option", { value: "read" }, t("share.read")),
    row.collection && page.may("create") && h("option", { value: "drop" }, t("share.drop")),
  );
  const days = h(
    "select",
    {},
    [1, 7, 30, 365].map((n) => h("option", { value: String(n), selected: n === 30 }, n === 1 ? t("share.day") : t("share.days", n))),
  );
  const label = h("input", { maxlength: "60", autocomplete: "off" });
  const password = h("input", { type: "password", autocomplete: "new-password" });
  const result = h("p", { role: "status" });
  const make = once(() =>
    tried(async () => {
      const link = await send("POST", "", {
        path: row.href,
        access: access.value,
        label: label.value,
        password: password.value,
        expires: new Date(Date.now() + Number(days.value) * 86_400_000).toISOString(),
      });
      const url = location.origin + link.href;
      const shownURL = h("input", { "value": url, "readOnly": true, "aria-label": t("share.url") });
      const copy = () => tried(async () => (await copyText(url), tell(t("copied"))));
      const button = h("button", { type: "button", onclick: copy }, t("share.copy"));
      result.replaceChildren(t("share.once"), h("span", { class: "url" }, shownURL, button));
      made(link);
      shownURL.select();
    }),
  );
  return h(
    "div",
    {},
    field(t("share.access"), access),
    field(t("share.expires"), days),
    field(t("share.label"), label),
    field(t("share.password"), password),
    h("p", {}, h("button", { type: "button", onclick: make }, t("share.make"))),
    result,
  );
}
