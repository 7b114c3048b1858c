// A running server, and Chromium of this machine. IFMATCH is the program, and CHROMIUM the browser.
import { chromium } from "playwright-core";
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach } from "node:test";

const program = process.env.IFMATCH;
assert.ok(program, "IFMATCH does not name the program");

/** Whether the program stands for three servers over a database: see internal/clustertest. */
export const cluster = Boolean(process.env.CLUSTERTEST_DATABASE);

/**
 * How long a test waits for an event that must come, in milliseconds. A working program never uses it up, also on a machine
 * that has much else to do. An upload whose server of a cluster was killed goes on at another one after a minute.
 */
export const patience = 120_000;

/** Serves a new directory until the tests of the file are over. */
export async function serve(...flags) {
  const dir = await mkdtemp(join(tmpdir(), "ifmatch-page-"));
  const server = new Server(dir, flags);
  await server.start("127.0.0.1:0");
  after(async () => {
    await server.stop();
    await rm(dir, { recursive: true, force: true });
  });
  return server;
}

class Server {
  constructor(dir, flags) {
    Object.assign(this, { dir, flags, log: "" });
  }

  async start(address) {
    this.process = spawn(program, ["serve", "--addr", address, ...this.flags, this.dir], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    this.ended = new Promise((resolve) => this.process.once("exit", resolve));
    const banner = new Promise((resolve, reject) => {
      this.process.stderr.on("data", (data) => {
        this.log += data;
        const found = /serving .* at (http:\/\/[^\n]*)\/\n/.exec(this.log);
        if (found) resolve(found[1]);
      });
      this.process.once("exit", () => reject(new Error(`the server has ended:\n${this.log}`)));
    });
    this.url = await banner;
  }

  async kill() {
    this.process.kill("SIGKILL");
    await this.ended;
  }

  /** Starts the server again at its address. */
  async again() {
    this.log = "";
    await this.start(new URL(this.url).host);
  }

  async stop() {
    this.process.kill("SIGTERM");
    await this.ended;
  }

  /** Sends a request that must succeed, as another program. */
  async send(method, path, body, headers = {}) {
    const response = await fetch(this.url + path, { method, body, headers: { ...this.headers, ...headers } });
    assert.ok(response.ok, `${method} ${path}: ${response.status}`);
    return response;
  }

  /**
   * Writes a file as a local program does. A cluster has no files that one could write: there it is another client. The
   * path is a text or bytes.
   */
  async write(path, content) {
    if (cluster) await this.send("PUT", addressOf(path), content);
    else await writeFile(fileOf(this.dir, path), content);
  }

  /** Renames a file as a local program does, or as another client. */
  async rename(from, to) {
    if (cluster) await this.send("MOVE", addressOf(from), null, { Destination: this.url + addressOf(to), Overwrite: "F" });
    else await rename(fileOf(this.dir, from), fileOf(this.dir, to));
  }

  async text(path) {
    return (await this.send("GET", path)).text();
  }
}

const fileOf = (dir, path) => Buffer.concat([Buffer.from(dir), Buffer.from(path)]);

/** The path of a URL that means these bytes. */
const addressOf = (path) =>
  [...Buffer.from(path)]
    .map((byte) => (/[\w/.-]/.test(String.fromCharCode(byte)) ? String.fromCharCode(byte) : `%${byte.toString(16).padStart(2, "0")}`))
    .join("");

let browser = null;
after(() => browser?.close());

/**
 * Opens a page in a profile of its own. Each error of a script, and each violation of a policy, fails the test that
 * calls `page.clean()`, and the test file at its end.
 */
export async function visit(url, { width = 1280, height = 800, bare = false, login = null, ...options } = {}) {
  browser ??= await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      ...["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"],
      ...["--disable-component-update", "--disable-sync"],
    ],
  });
  const context = await browser.newContext({ viewport: { width, height }, ...options });
  const still = bare || options.javaScriptEnabled === false;
  const page = await open(context, url, still || login !== null);
  if (login) await logIn(page, ...login, still);
  return page;
}

/** Logs in by the form that is shown. still: no script of the page is waited for. */
export async function logIn(page, name, password, still = false) {
  await page.getByLabel("Name").fill(name);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Log in" }).click();
  if (!still) await page.locator("body.live").waitFor({ timeout: patience });
}

const tabs = new Set(); // those of the test that runs

/** Opens another tab of the same profile. bare: no script of the page is waited for. */
export async function open(context, url, bare = false) {
  const page = await context.newPage();
  page.setDefaultTimeout(patience);
  tabs.add(page);
  page.once("close", () => tabs.delete(page));
  const faults = [];
  page.on("pageerror", (error) => faults.push(error.stack));
  page.on("console", (message) => {
    if (/Content Security Policy|Trusted/i.test(message.text())) faults.push(message.text());
  });
  page.forget = () => faults.splice(0); // those were meant
  page.clean = () => assert.deepEqual(faults, []);
  after(() => page.clean());
  await page.goto(url);
  if (!bare) await page.locator("body.live").waitFor({ timeout: patience });
  return page;
}

// What a reader sees in the tabs of a test that has failed.
afterEach(async (t) => {
  for (const page of t.passed ? [] : tabs) console.log(await seen(page).catch((error) => `${page.url()}: ${error.message}`));
  tabs.clear();
});

/** Tells what a page shows: its dialogs, the lowest first, and uploads, what was told in passing, and the names of the rows. */
function seen(page) {
  return page.evaluate(() => {
    const texts = (selector) => [...document.querySelectorAll(selector)].map((e) => e.innerText.trim());
    const told = { dialogs: texts("dialog[open], .uploads"), notes: texts(".note"), names: texts("#files tbody a").slice(0, 50) };
    return `${location}, with the focus in ${document.activeElement?.outerHTML.slice(0, 200)}:\n${JSON.stringify(told, null, 2)}`;
  });
}

/** The row of a name. */
export const row = (page, name) =>
  page.locator("#files tbody tr", { has: page.getByRole("link", { name, exact: true }) });

/** Opens a text file, and returns when it can be edited. */
export async function edit(page, name) {
  await page.getByRole("link", { name, exact: true }).click();
  await page.locator(".cm-content").waitFor();
}

/** Types at the beginning or the end of the text. */
export async function type(page, key, text) {
  await page.locator(".cm-content").focus();
  await page.keyboard.press(key);
  await page.keyboard.type(text);
}

export const press = (page, name) => page.getByRole("button", { name, exact: true }).last().click();
export const said = (page, text) => page.getByText(text).last().waitFor();
export const saved = (page) => page.locator(".state", { hasText: /^Saved$/ }).waitFor();

/** Holds the answers to requests of a page back. Each is let go by the function that next returns when it has come. */
export async function hold(page, url, method = "GET") {
  const held = [];
  await page.route(url, async (route) => {
    if (route.request().method() !== method) return route.fallback();
    const response = await route.fetch();
    held.push(() => route.fulfill({ response }));
  });
  const next = async () => {
    await until(`the server answers ${method} ${url}`, () => held.length > 0);
    return held.shift();
  };
  return { next, held };
}

/** Does something with the row by its menu. */
export async function act(page, name, action) {
  await row(page, name).getByRole("button").click();
  await press(page, action);
}

/** Waits until a condition is true. */
export async function until(what, condition) {
  const end = Date.now() + patience;
  for (;;) {
    if (await condition()) return;
    assert.ok(Date.now() < end, `it did not come about that ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const shots = process.env.PAGE_SHOTS;

/**
 * Fails for what axe finds, or if something is wider than the window. PAGE_SHOTS names a directory for pictures. axe looks
 * into the shadow root of the editor too.
 */
export async function check(page, what) {
  if (shots) await page.screenshot({ path: join(shots, `${what}.png`) });
  // The page's policy forbids what axe would add to it. What runs from here is not bound by it.
  const violations =
    await page.evaluate(`${axe}; axe.run(document, { resultTypes: ["violations"] }).then((r) => r.violations.map((v) =>
    [v.id, v.nodes.map((n) => [n.html.slice(0, 200), n.failureSummary]).slice(0, 3)]))`);
  assert.deepEqual(violations, [], what);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
  assert.equal(wide, false, `${what} is wider than the window`);
}

/** The four looks: two of them are enough each time, and PAGE_LONG asks for all. */
export function looks(run) {
  for (const [width, height] of [
    [1280, 800],
    [390, 844],
  ]) {
    for (const colorScheme of ["light", "dark"]) {
      const often = (width === 1280) === (colorScheme === "light");
      const skip = !often && !process.env.PAGE_LONG && "in .ci/long";
      run(`${width}-${colorScheme}`, { width, height, colorScheme, reducedMotion: "reduce" }, { skip });
    }
  }
}
