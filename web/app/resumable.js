// Sends a large file in parts, so that a broken line, or a server that was started again, costs a part and not the file
// (tus 1.0.0). Where the server takes no parts, upload.js sends the file as a whole.
import { exchange } from "./exchange.js";
import { own } from "./requests.js";
import { t } from "./strings.js";

const large = 16 << 20; // bytes above which a file is sent in parts
const part = 64 << 20; // bytes of a part
const patience = 10 * 60_000; // milliseconds without progress after which a file has failed
const pauses = [500, 1000, 2000, 5000, 10_000]; // milliseconds before a part is tried again
const tus = { "Tus-Resumable": "1.0.0" };

let takesParts = null;

/** Reports whether a file is to be sent in parts. The server is asked once. */
export async function inParts(file) {
  if (file.size <= large) return false;
  takesParts ??= fetch(`${own}uploads`, { method: "OPTIONS" })
    .then((r) => r.headers.has("Tus-Version") || r.headers.has("Tus-Resumable"))
    .catch(() => false);
  return takesParts;
}

/** A file on its way to a name. It stays on the server while the reader is asked about what is there. */
export class Resumable {
  #location = null;
  #offset = 0;

  constructor(href, file, progress, signal) {
    Object.assign(this, { href, file, progress, signal });
  }

  /** Sends the rest under a condition. The answer is that of a PUT: 201, 204, or a refusal. */
  async send(condition) {
    for (let failures = 0, since = Date.now(); ; ) {
      this.signal.throwIfAborted();
      const before = this.#offset;
      let answer;
      try {
        answer = await this.#step(condition);
      } catch (error) {
        if (error.name === "AbortError") throw error;
        answer = { status: 0 };
      }
      if (answer.done) return answer;
      if (this.#offset > before) [failures, since] = [0, Date.now()];
      if (answer.status === 204) continue;
      if (Date.now() - since > patience) throw new Error(t("offline"));
      await pause(pauses[Math.min(failures++, pauses.length - 1)], this.signal);
      await this.#ask().catch(() => {}); // it is tried again in any case
    }
  }

  /** Makes the upload, or sends a part of it. */
  async #step(condition) {
    const headers = { ...tus, ...condition };
    if (!this.#location) {
      const mtime = btoa(String(Math.floor(this.file.lastModified / 1000)));
      const made = await exchange("POST", this.href, {
        headers: { ...headers, "Upload-Length": String(this.file.size), "Upload-Metadata": `mtime ${mtime}` },
        signal: this.signal,
      });
      if (made.status !== 201) return { ...made, done: !passing(made.status) };
      this.#location = new URL(made.header("Location"), location.href).pathname;
      this.#offset = 0;
    }
    const offset = this.#offset;
    const answer = await exchange("PATCH", this.#location, {
      headers: { ...headers, "Upload-Offset": String(offset), "Content-Type": "application/offset+octet-stream" },
      body: this.file.slice(offset, offset + part),
      progress: (sent) => this.progress(offset + sent),
      signal: this.signal,
    });
    const now = Number(answer.header("Upload-Offset") ?? offset);
    if (answer.status === 204) this.#offset = now;
    if (answer.status === 412 || answer.status === 409) this.#offset = Math.max(0, Math.min(now, this.file.size - 1));
    if (answer.status === 404 || answer.status === 410) this.#location = null; // the server has given it up
    const done = answer.status === 204 ? this.#offset >= this.file.size : !passing(answer.status);
    return { ...answer, done };
  }

  /** Asks how far the upload is. */
  async #ask() {
    if (!this.#location) return;
    const response = await fetch(this.#location, { method: "HEAD", headers: tus, cache: "no-store" });
    if (response.status === 404 || response.status === 410) this.#location = null;
    else if (response.ok) this.#offset = Number(response.headers.get("Upload-Offset"));
  }

  /** Has the server forget the bytes, which nobody has a use for. */
  drop() {
    if (this.#location) fetch(this.#location, { method: "DELETE", headers: tus, keepalive: true }).catch(() => {});
    this.#location = null;
  }
}

/** Reports whether an answer says that the same may succeed later, or after a look at the offset. */
const passing = (status) => [0, 404, 408, 409, 410, 423, 429, 500, 502, 503, 504].includes(status);

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });
}
