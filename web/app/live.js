// What others change shows: an event stream where the server has one, else the folder's changes are asked for.
import { parentOf } from "./dom.js";
import { own } from "./requests.js";

const eager = 2000,
  calm = 10_000; // milliseconds between two questions, soon after a change and later
const watchers = new Set();

/** Calls back with the hrefs of changed resources, or null for "anything", until the returned function is called. */
export function watch(callback) {
  watchers.add(callback);
  return () => watchers.delete(callback);
}

/** Follows the changes of a folder, from the token with which it was listed. */
export function follow(folder, page, token) {
  if (!token()) return; // the server reports no changes
  let pending = null, // what has changed and was not told yet; "any" for all
    timer = 0,
    took = 0;

  /** Lists the folder again, and tells who watches. A folder that keeps changing is listed a fifth of the time at most. */
  function note(changed) {
    pending = changed === null || pending === "any" ? "any" : [...(pending ?? []), ...changed];
    if (timer || document.hidden) return;
    timer = setTimeout(
      async () => {
        const told = pending === "any" ? null : pending;
        pending = null;
        const began = performance.now();
        await page.reload().catch(() => {});
        took = performance.now() - began;
        for (const callback of watchers) callback(told);
        timer = 0;
        if (pending) note([]);
      },
      Math.max(100, 4 * took),
    );
  }

  const poll = () => asking(folder, token, note);
  stream(folder, token, note, poll);
}

/** Hears of changes by Server-Sent Events, while the page is looked at: browsers open few connections to one server. */
function stream(folder, token, note, otherwise) {
  let source = null;
  function listen() {
    source = new EventSource(`${own}events?${new URLSearchParams({ path: folder, since: token() })}`);
    source.addEventListener("change", (e) => {
      const { path, from } = JSON.parse(e.data);
      const here = [path, from].filter((name) => name && (parentOf(name) === folder || folder.startsWith(name)));
      if (here.length) note(here);
    });
    source.addEventListener("list", () => note(null));
    source.onerror = () => {
      if (source.readyState !== EventSource.CLOSED) return; // the browser connects again, and names the last event
      document.removeEventListener("visibilitychange", seen);
      otherwise();
    };
  }
  function seen() {
    if (document.hidden) source.close();
    else {
      note(null); // the listing may have been brought up to date while nobody was told
      listen();
    }
  }
  document.addEventListener("visibilitychange", seen);
  if (!document.hidden) listen();
}

/** Asks again and again, less often when nothing changes, where the server has no stream. */
function asking(folder, token, note) {
  let since = token(),
    wait = eager,
    timer = 0,
    busy = false,
    idle = 0;
  async function look() {
    clearTimeout(timer);
    if (busy || document.hidden) return;
    busy = true;
    try {
      const { changed, now } = await changes(folder, since);
      since = now;
      idle = changed?.length === 0 ? idle + 1 : 0;
      wait = idle > 15 ? calm : eager;
      if (changed === null || changed.length) note(changed);
    } catch {
      wait = calm; // the server may be back then
    }
    busy = false;
    timer = setTimeout(look, wait);
  }
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) look();
  });
  for (const type of ["pointerdown", "keydown"]) {
    addEventListener(type, () => ([idle, wait] = [0, eager]), { passive: true });
  }
  timer = setTimeout(look, wait);
}

/** Asks which members of a folder have changed since a token (RFC 6578). changed is null if the token is not known any more. */
async function changes(folder, token) {
  const body =
    `<?xml version="1.0"?><sync-collection xmlns="DAV:"><sync-token>${token}</sync-token>` +
    "<sync-level>1</sync-level><prop><getetag/></prop></sync-collection>";
  const response = await fetch(folder, {
    method: "REPORT",
    body,
    headers: { "Content-Type": "application/xml" },
    cache: "no-store",
  });
  const text = await response.text();
  if (response.status === 403) return { changed: null, now: await present(folder) };
  if (response.status !== 207) throw new Error(`status ${response.status}`);
  // The answer is read as text: to parse XML is, for the policy of this page, the same as to make HTML.
  const now = /<D:sync-token>([^<]*)</.exec(text)?.[1];
  if (!now) throw new Error("no token");
  return {
    changed: [...text.matchAll(/<D:response><D:href>([^<]*)</g)].map((m) => m[1].replaceAll("&amp;", "&")),
    now,
  };
}

async function present(folder) {
  const { list } = await import("./requests.js");
  return (await list(folder)).token;
}
