// The end of a login. A browser may be one that others use too, so nothing that its user has typed stays in it unasked.
import { pathText } from "./actions.js";
import { ask, fail } from "./dialog.js";
import { h, name } from "./dom.js";
import { drop, left } from "./drafts.js";
import { others, reader } from "./login.js";
import { path } from "./requests.js";
import { t } from "./strings.js";

/** Logs out, in all tabs, unless the reader would lose something and decides not to. */
export async function logOut(form) {
  const user = reader();
  const drafts = left(user);
  const busy = !dispatchEvent(new Event("beforeunload", { cancelable: true })); // as if the reader left: uploads object
  if ((drafts.length || busy) && !(await sure(drafts, busy))) return;
  try {
    const response = await fetch(form.action, {
      method: "POST",
      body: new URLSearchParams(new FormData(form)),
      headers: { Accept: "application/json" },
      cache: "no-store",
    });
    if (!response.ok) throw new Error(t("logout.failed"));
  } catch (error) {
    await fail(error);
    return;
  }
  others.postMessage(user);
  dispatchEvent(new Event("loggedout"));
  for (const { key } of left(user)) drop(key);
  location.assign(path);
}

const sure = (drafts, busy) =>
  ask(
    t("logout"),
    [
      busy && h("p", {}, t("logout.uploads")),
      drafts.length > 0 && h("p", {}, t("logout.drafts")),
      h(
        "ul",
        {},
        drafts.map(({ href }) => h("li", {}, name(pathText(href)))),
      ),
    ],
    [
      { label: t("logout.discard"), value: true, kind: "danger" },
      { label: t("logout.stay"), value: false, kind: "main" },
    ],
  );
