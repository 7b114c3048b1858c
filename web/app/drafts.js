// Drafts: texts that were edited and not saved. They stay in the browser, each for the user who has typed it, until they
// are saved or discarded, until that user logs out, or for 30 days.
import { own } from "./requests.js";

const kept = 30 * 86_400_000; // milliseconds, as long as a login can last
const largest = 1 << 20; // characters: browsers keep a few megabytes in all
const begin = "ifmatch draft ";
const root = own.replace(/[^/]*\/$/, ""); // a proxy may show other servers at other paths of the same origin

/** Where the draft of a user is kept, who is "" where nobody has logged in. */
export const keyOf = (user, href) => begin + (user && `of ${encodeURIComponent(user)} `) + href;

/** Keeps a draft, if it is not too large: {text, etag, base}. */
export function keep(key, draft) {
  if (draft.text.length + draft.base.length >= largest) return;
  tried(() => localStorage.setItem(key, JSON.stringify({ ...draft, typed: Date.now() })));
}

/** Returns a draft, or null. */
export const read = (key) => tried(() => JSON.parse(localStorage.getItem(key)));

export const drop = (key) => void tried(() => localStorage.removeItem(key));

/** Returns all drafts of this server, as {key, user, href}. Those that are too old go. */
function all() {
  const keys = tried(() => Object.keys(localStorage)) ?? [];
  const found = [];
  for (const key of keys) {
    const [, user = "", href] = /^ifmatch draft (?:of (\S+) )?(\/.*)$/.exec(key) ?? [];
    if (!href?.startsWith(root)) continue;
    // A draft of a page before this one has no date: its time begins now.
    const draft = read(key);
    if (draft && !draft.typed) keep(key, draft);
    if (draft && !(draft.typed < Date.now() - kept)) found.push({ key, user: decodeURIComponent(user), href });
    else drop(key);
  }
  return found;
}

/** Drops the drafts that are too old. */
export const age = () => void all();

/** Returns the drafts that somebody who logs out leaves behind: their own, and those from before the login. */
export const left = (user) => all().filter((d) => d.user === user || d.user === "");

/** Runs something that fails where the browser keeps nothing, or has no room: the text is still in the editor. */
function tried(run) {
  try {
    return run();
  } catch {
    return null;
  }
}
