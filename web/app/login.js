// A login that is needed, or has ended: a request that the server refuses for that waits until the reader has logged in,
// and is sent again as it was. It names what the reader has seen, so it does no more than it would have done before.
import { ask } from "./dialog.js";
import { h } from "./dom.js";
import { t } from "./strings.js";

const { own } = document.body.dataset;
const plain = globalThis.fetch.bind(globalThis);
let asking = null;
let refused = false; // the reader has closed the question
let times = 0; // the reader has logged in here

globalThis.fetch = async (input, init) => {
  const since = logins();
  const response = await plain(input, init);
  if (!needsLogin(response.status, response.headers.get("WWW-Authenticate")) || !(await logIn(since))) return response;
  return plain(input, init);
};

/** Reports whether an answer asks for a login by the form. */
export const needsLogin = (status, challenge) => status === 401 && /^Session\b/.test(challenge ?? "");

/** How often the reader has logged in. */
export const logins = () => times;

/**
 * Asks the reader to log in, once for all requests that wait, and for those that were sent before a login and are answered
 * after it. since is what logins was then. Resolves to false if the reader does not want to.
 */
export async function logIn(since) {
  if (since !== times) return true;
  // What goes on by itself does not ask again and again.
  if (refused && !navigator.userActivation?.isActive) return false;
  asking ??= question().finally(() => (asking = null));
  return asking;
}

/** Returns the name of the user who reads the page, or "". */
export const reader = () => document.querySelector(".who bdi")?.textContent ?? "";

/** The other tabs with pages of this server. A tab tells them of a user who has logged out. */
export const others = new BroadcastChannel(`ifmatch ${own}`);
others.onmessage = ({ data: user }) => {
  if (user !== reader()) return;
  dispatchEvent(new Event("loggedout")); // nothing of what is open is kept
  location.reload();
};

async function question() {
  const known = reader();
  const name = h("input", {
    id: "login-name",
    autocomplete: "username",
    autocapitalize: "none",
    spellcheck: "false",
    value: known,
    readOnly: known !== "", // another user would go on with what this one has begun
  });
  let problem = "";
  for (;;) {
    const password = h("input", {
      id: "login-password",
      type: "password",
      autocomplete: "current-password",
      autofocus: known !== "",
    });
    const answer = await ask(
      t("login"),
      [
        h("p", {}, t(known ? "login.again" : "login.needed")),
        h("label", { for: name.id }, t("name")),
        name,
        h("label", { for: password.id }, t("password")),
        password,
        problem && h("p", { class: "problem", role: "alert" }, problem),
      ],
      [
        { label: t("cancel"), value: null },
        { label: t("login"), value: true, kind: "main" },
      ],
    );
    refused = !answer;
    if (refused) return false;
    problem = await send(name.value, password.value);
    if (!problem) {
      times++;
      if (!known) document.querySelector(".who")?.replaceChildren(h("bdi", {}, name.value));
      dispatchEvent(new Event("loggedin"));
      return true;
    }
  }
}

/** Sends a name and a password. Resolves to why they were not taken, or "". */
async function send(name, password) {
  try {
    const response = await plain(`${own}login`, {
      method: "POST",
      body: new URLSearchParams({ name, password }),
      headers: { Accept: "application/json" },
      cache: "no-store",
    });
    if (response.ok) return "";
    return (await response.json()).detail || t("login.failed");
  } catch {
    return t("offline");
  }
}
