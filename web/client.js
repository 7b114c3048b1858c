/**
 * Files on an HTTP server, without lost updates: each write names the version that it replaces (RFC 9110 §13).
 *
 *   import { read, save, create, remove, retryWithMerge, ConflictError } from "./client.js";
 *
 *   const v = await read(url);                        // { text, bytes, etag, … }
 *   await save(url, v.text + "more", { ifMatch: v.etag });
 *
 * A save whose version is gone throws a ConflictError, which has the version that is there now. So a program can show
 * both, merge them, and save the result with the new ETag:
 *
 *   await retryWithMerge(url, (current) => current.text + "more\n");
 *
 * Works in browsers and in Node 20 and later, against each server that has strong ETags and answers 412. All functions
 * take these options: `fetch` (in place of the global one), `headers` (added to each request), `credentials` (as of
 * fetch), and `signal` (an AbortSignal). They throw the TypeError or AbortError of fetch where no answer has come.
 * For a write that means that it may have happened: see {@link UnsureError}.
 */

/** An answer that is no success. */
export class HTTPError extends Error {
  /**
   * @param {Response} response
   * @param {object} [problem] the body of the refusal (RFC 9457), if it has one
   */
  constructor(response, problem = {}) {
    super(problem.detail || `${response.status} ${response.statusText}`.trim());
    this.name = this.constructor.name;
    this.status = response.status;
    this.problem = problem;
  }
}

/** A condition was not true (412), or was missing (428). Nothing has changed. */
export class ConflictError extends HTTPError {
  /**
   * @param {Response} response
   * @param {object} problem
   * @param {Version|null} current the version that is there, if the answer has brought it
   */
  constructor(response, problem, current) {
    super(response, problem);
    /** Whether something is there now; undefined if the server does not say. */
    this.exists = current ? true : problem.exists;
    /** The ETag of what is there now; "" if nothing is, or if it is not told. */
    this.etag = response.headers.get("ETag") || problem.etag || "";
    /** Its size in bytes and its Last-Modified, as far as they are told. */
    this.size = current ? current.bytes.length : problem.size;
    this.modified = response.headers.get("Last-Modified") || problem.modified || "";
    /** Whether the server says that the refused content is what is there. It need not have come from this client. */
    this.sameContent = problem.sameContent === true;
    this.current = current;
  }
}

/** A write got no answer, or one that says that it may have happened (500). The cause is in `cause`. */
export class UnsureError extends Error {
  constructor(url, cause) {
    super(`no answer about ${url}: it may have been written, or not`, { cause });
    this.name = "UnsureError";
  }
}

/**
 * One version of a file.
 * @typedef {object} Version
 * @property {string} url
 * @property {boolean} exists false for a file that is not there; then the rest is empty
 * @property {Uint8Array} bytes
 * @property {string} text the bytes as UTF-8; what is no UTF-8 reads as U+FFFD, so see `isText` before you save it
 * @property {boolean} isText whether the bytes are UTF-8, so that encoding the text yields the same bytes
 * @property {string} etag with its quotation marks; "" if the server has none
 * @property {string} modified Last-Modified
 * @property {string} type Content-Type
 */

/**
 * Reads a file, with the ETag of exactly these bytes.
 * @returns {Promise<Version>}
 * @throws {HTTPError} status 404 if nothing is there
 */
export async function read(url, options = {}) {
  // If-Match has the server wait for an ETag that it does not know yet. It is true of whatever is there.
  const response = await send("GET", url, { "If-Match": "*" }, undefined, options);
  if (!response.ok) throw await refusal(response);
  return version(url, response);
}

/**
 * Replaces the content of a file, if that is still the version with this ETag.
 * @param {string|Uint8Array|Blob} content
 * @param {object} options with `ifMatch` (an ETag as {@link read} returns it, needed), `type` (Content-Type)
 * @returns {Promise<{etag: string, created: boolean, response: Response}>}
 * @throws {ConflictError} it is another version, or gone; nothing has changed
 * @throws {UnsureError} no answer came
 */
export async function save(url, content, options = {}) {
  needsTag("save", options.ifMatch);
  return put(url, content, { "If-Match": options.ifMatch }, options);
}

/**
 * Makes a file, if nothing is there.
 * @throws {ConflictError} something is there; nothing has changed
 */
export async function create(url, content, options = {}) {
  return put(url, content, { "If-None-Match": "*" }, options);
}

/**
 * Removes a file, if it is still the version with this ETag.
 * @param {object} options with `ifMatch`, needed
 * @throws {ConflictError} it is another version; nothing has changed
 */
export async function remove(url, options = {}) {
  needsTag("remove", options.ifMatch);
  const response = await write("DELETE", url, { "If-Match": options.ifMatch }, undefined, options);
  if (!response.ok) throw await refusal(response);
}

/**
 * Changes a file by a function, which is called again with the version that is there whenever another client was faster.
 *
 * @param {string} url
 * @param {(current: Version, conflict?: {base: Version, mine: Content, theirs: Version}) => Content|null} edit
 *   returns the new content for a version, or null to leave it as it is. It may be async. From the second call on,
 *   `conflict` has what is needed for a three-way merge: the version that it was given before, what it made of that,
 *   and the version that is there. A function that only applies its change to `current` can ignore it. A file that is
 *   not there is a version with `exists` false.
 * @param {object} options with `attempts` (10)
 * @returns {Promise<Version & {attempts: number}>} the version that is there now
 * @throws {ConflictError} of the last attempt
 * @throws {UnsureError} no answer came. It is not tried again, because the edit might be made twice.
 */
export async function retryWithMerge(url, edit, options = {}) {
  let current = await readOrNothing(url, options);
  let conflict;
  for (let attempt = 1; ; attempt++) {
    const content = await edit(current, conflict);
    if (content === null || content === undefined) return { ...current, attempts: attempt };
    try {
      const saved = current.exists
        ? await save(url, content, { ...options, ifMatch: current.etag })
        : await create(url, content, options);
      const bytes = await bytesOf(content);
      return { ...versionOf(url, bytes), etag: saved.etag, attempts: attempt };
    } catch (error) {
      if (!(error instanceof ConflictError) || attempt >= (options.attempts ?? 10)) throw error;
      const theirs = error.current ?? (await readOrNothing(url, options));
      conflict = { base: current, mine: content, theirs };
      current = theirs;
    }
  }
}

/** Returns the ETag that a server of content hashes gives to these bytes: SHA-256 in base64url. Needs a secure context. */
export async function tagOf(content) {
  const sum = new Uint8Array(await crypto.subtle.digest("SHA-256", await bytesOf(content)));
  const base64 = btoa(String.fromCharCode(...sum));
  return `"${base64.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")}"`;
}

/** Throws the error of an answer that is no success. */
export async function refusal(response) {
  const type = response.headers.get("Content-Type") || "";
  let problem = {};
  let current = null;
  if (/^application\/(problem\+)?json/.test(type) && !applied(response)) {
    problem = (await response.json().catch(() => null)) ?? {};
  } else if (response.status === 412 && applied(response)) {
    current = await version(response.url, response);
  } else {
    await response.body?.cancel();
  }
  if (response.status === 412 || response.status === 428) return new ConflictError(response, problem, current);
  return new HTTPError(response, problem);
}

/** @typedef {string|Uint8Array|Blob} Content */

async function put(url, content, condition, options) {
  const headers = { Prefer: "return=representation", ...condition };
  if (options.type) headers["Content-Type"] = options.type;
  const response = await write("PUT", url, headers, content, options);
  if (!response.ok) throw await refusal(response);
  return { etag: response.headers.get("ETag") || "", created: response.status === 201, response };
}

/** Sends a write. Without an answer it may have happened, or not. */
async function write(method, url, headers, body, options) {
  let response;
  try {
    response = await send(method, url, headers, body, options);
  } catch (cause) {
    throw new UnsureError(url, cause);
  }
  if (response.status >= 500 && response.status !== 503 && response.status !== 507) {
    throw new UnsureError(url, await refusal(response));
  }
  return response;
}

/** Sends a request, and again, up to three times, where the server says that nothing was done and it should be. */
async function send(method, url, headers, body, options) {
  const { fetch = globalThis.fetch, signal, credentials } = options;
  const init = { method, headers: { ...options.headers, ...headers }, body, signal, cache: "no-store" };
  if (credentials) init.credentials = credentials;
  for (let tries = 1; ; tries++) {
    const response = await fetch(url, init);
    const after = Number(response.headers.get("Retry-After"));
    if (
      ![429, 503].includes(response.status) ||
      !(after >= 0 && after <= 10) ||
      tries > 3 ||
      !response.headers.has("Retry-After")
    )
      return response;
    await response.body?.cancel();
    await pause(after * 1000, signal);
  }
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, milliseconds);
    signal?.addEventListener("abort", stop, { once: true });
  });
}

async function readOrNothing(url, options) {
  try {
    return await read(url, options);
  } catch (error) {
    if (!(error instanceof HTTPError) || error.status !== 404) throw error;
    return { ...versionOf(url, new Uint8Array()), exists: false };
  }
}

async function version(url, response) {
  const bytes = new Uint8Array(await response.arrayBuffer());
  return {
    ...versionOf(url, bytes),
    etag: response.headers.get("ETag") || "",
    modified: response.headers.get("Last-Modified") || "",
    type: response.headers.get("Content-Type") || "",
  };
}

function versionOf(url, bytes) {
  let text,
    isText = true;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    isText = false;
    text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
  }
  return { url, exists: true, bytes, text, isText, etag: "", modified: "", type: "" };
}

async function bytesOf(content) {
  if (typeof content === "string") return new TextEncoder().encode(content);
  if (content instanceof Blob) return new Uint8Array(await content.arrayBuffer());
  return content;
}

function applied(response) {
  return /return=representation/.test(response.headers.get("Preference-Applied") || "");
}

function needsTag(what, tag) {
  if (typeof tag !== "string" || !/^"[^"]*"$/.test(tag)) {
    throw new TypeError(
      `${what} needs ifMatch: the strong ETag of the version to be replaced, with its quotation marks`,
    );
  }
}
