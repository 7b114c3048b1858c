// What others change shows: an event stream where the server has one, else the folder's changes are asked for.
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
  let since = token();
  let wait = eager,
    timer = 0,
    asking = false,
    idle = 0;
  if (!since) return; // the server reports no changes

  async function look() {
    clearTimeout(timer);
    if (asking || document.hidden) return;
    asking = true;
    try {
      const { changed, now } = await changes(folder, since);
      since = now;
      idle = changed?.length === 0 ? idle + 1 : 0;
      wait = idle > 15 ? calm : eager;
      if (changed === null || changed.length) await tellAll(changed);
    } catch {
      wait = calm; // the server may be back then
    }
    asking = false;
    timer = setTimeout(look, wait);
  }

  async function tellAll(changed) {
    await page.reload().catch(() => {});
    for (const callback of watchers) callback(changed);
  }

  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) {
      idle = 0;
      look();
    }
  });
  for (const type of ["focus", "pointerdown", "keydown"])
    addEventListener(
      type,
      () => {
        idle = 0;
        wait = eager;
      },
      { passive: true },
    );
  timer = setTimeout(look, wait);
  void own;
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
