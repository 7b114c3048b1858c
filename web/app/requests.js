// What the page asks of the server. Each change names what the reader has seen: the ETag of a file, or the sync token with
// which the folder was listed.
import { ConflictError, refusal, UnsureError } from "./client.js";

const { own, assets, path } = document.body.dataset;
export { assets, own, path };

/** Whether the reader is a user who can make share links. */
export const canShare = document.body.dataset.links === "true";

/** @typedef {{href: string, name: string, collection?: boolean, size: number, modified?: string, etag?: string, token?: string}} Row token: of the listing that it is of */

const address = (name, query) => `${own}${name}?${new URLSearchParams(query)}`;

async function json(name, query, signal) {
  const response = await fetch(address(name, query), {
    signal,
    headers: { Accept: "application/json" },
    cache: "no-store",
  });
  if (!response.ok) throw await refusal(response);
  return response.json(); // it fails if the answer was cut
}

/** @returns {Promise<{path: string, may: string[], token?: string, members: Row[]}>} */
export async function list(folder, signal) {
  const listing = await json("list", { path: folder }, signal);
  for (const row of listing.members) row.token = listing.token;
  return listing;
}
export const search = (folder, q, signal) => json("search", { path: folder, q }, signal);
export const history = (href, signal) => json("history", { path: href }, signal);
export const latest = (href, signal) => json("latest", { path: href }, signal);
export const versionURL = (href, id) => address("version", { path: href, id });

export function zipURL(folder, rows = []) {
  const query = new URLSearchParams({ path: folder });
  const url = `${own}zip?${query}`;
  // Segments keep their bytes: URLSearchParams would write those that are no UTF-8 anew.
  return url + rows.map((r) => `&only=${r.href.replace(/\/$/, "").split("/").pop().replaceAll("+", "%2B")}`).join("");
}

/** Returns the row with its ETag, which it waits for. The file must still be what the row shows, as far as that tells. */
export async function withTag(row) {
  if (row.etag || row.collection) return row;
  const response = await fetch(row.href, { method: "HEAD", headers: { "If-Match": "*" }, cache: "no-store" });
  if (!response.ok)
    throw response.status === 404 ? new ConflictError(response, { exists: false }, null) : await refusal(response);
  if (Number(response.headers.get("Content-Length")) !== row.size) {
    throw new ConflictError(response, { exists: true }, null);
  }
  return { ...row, etag: response.headers.get("ETag") ?? "" };
}

/**
 * The condition that a row is as it was seen. The lists of an If header are alternatives (RFC 4918 §10.4), so it can have
 * that of one resource alone.
 */
function seen(row) {
  if (!row.collection) return { "If-Match": row.etag };
  return row.token ? { If: `<${row.href}> (<${row.token}>)` } : { "If-Match": "*" };
}

async function change(method, href, headers) {
  let response;
  try {
    response = await fetch(href, { method, headers });
  } catch (cause) {
    throw new UnsureError(href, cause);
  }
  if (response.status === 207) throw new Error(await response.text());
  if (response.status >= 500 && ![503, 507].includes(response.status))
    throw new UnsureError(href, await refusal(response));
  if (!response.ok) throw await refusal(response);
  return response;
}

/** Removes what a row shows, if it is still that. */
export async function removeRow(row) {
  row = await withTag(row);
  return change("DELETE", row.href, seen(row));
}

/**
 * Moves or copies what a row shows to a name that must be free, or that over has, which is a file as the row is: then
 * exactly that is replaced.
 * @param {"MOVE"|"COPY"} method
 * @param {Row|null} over
 */
export async function transfer(method, row, to, over = null) {
  row = await withTag(row);
  const headers = { Destination: location.origin + to, Overwrite: over ? "T" : "F", ...seen(row) };
  if (over) headers.If = `<${over.href}> ([${(await withTag(over)).etag}])`;
  return change(method, row.href, headers);
}

export const makeFolder = (href) => change("MKCOL", href, {});

/** Makes a version of the history the current one, in place of what is there (a Row), or of nothing. */
export async function restore(href, id, there = null) {
  const tag = there && !there.collection ? (await withTag(there)).etag : "";
  return change("POST", address("restore", { path: href, id }), tag ? { "If-Match": tag } : { "If-None-Match": "*" });
}

/** Returns what is at a path now as a row, or null. */
export async function look(href, collection = false) {
  const response = await fetch(href, { method: "HEAD", headers: { "If-Match": "*" }, cache: "no-store" });
  if (response.status === 404) return null;
  if (!response.ok) throw await refusal(response);
  const isFile = response.headers.has("ETag");
  return {
    href,
    collection: collection || !isFile,
    size: Number(response.headers.get("Content-Length") ?? 0),
    modified: response.headers.get("Last-Modified") ?? "",
    etag: response.headers.get("ETag") ?? "",
    type: response.headers.get("Content-Type") ?? "",
  };
}
