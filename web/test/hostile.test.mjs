// Files and names that want more than to be shown. The reader is logged in, and may do everything.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readdir, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { after } from "node:test";
import { act, edit, open, press, row, said, serve, until, visit } from "./harness.mjs";

const users = join(tmpdir(), `ifmatch-page-users-${process.pid}`);
execFileSync(process.env.IFMATCH, ["user", "add", "--users", users, "ann"], { input: "a long secret\n" });
after(() => rm(users, { force: true }));

const server = await serve("--users", users);
const ann = { login: ["ann", "a long secret"] };
server.headers = { Authorization: `Basic ${btoa("ann:a long secret")}` };
const beside = []; // what the hostile pages have sent to a server of their own

const catcher = createServer((request, response) => {
  beside.push({ url: request.url, referer: request.headers.referer ?? "" });
  response.setHeader("Access-Control-Allow-Origin", "*");
  response.setHeader("Content-Type", "text/html");
  response.end(request.url === "/form" ? form() : "ok");
});
await new Promise((resolve) => catcher.listen(0, "127.0.0.1", resolve));
after(() => catcher.close());
const away = `http://127.0.0.1:${catcher.address().port}`;

// A page of another origin at the same site: another port of the same address. It tries what needs no permission.
const form = () => `<!doctype html><body><script>
(async () => {
  const tries = [
    fetch("${server.url}/victim.txt", { method: "PUT", body: "sibling", mode: "cors", credentials: "include" }),
    fetch("${server.url}/.ifmatch/restore?path=/victim.txt&id=x", { method: "POST", mode: "no-cors", credentials: "include" }),
    fetch("${server.url}/.ifmatch/logout", { method: "POST", mode: "no-cors", credentials: "include", body: new URLSearchParams() }),
    fetch("${server.url}/.ifmatch/login", { method: "POST", mode: "no-cors", credentials: "include",
      body: new URLSearchParams({ name: "ann", password: "a long secret" }) }),
    fetch("${server.url}/victim.txt", { credentials: "include" }).then((r) => r.text()),
    fetch("${server.url}/.ifmatch/list?path=/", { credentials: "include" }).then((r) => r.text()),
  ];
  const ends = await Promise.allSettled(tries);
  const frame = document.createElement("iframe");
  frame.src = "${server.url}/";
  const loaded = new Promise((done) => (frame.onload = done)); // before that, the frame is empty, and of this page
  document.body.append(frame);
  await loaded;
  let inside = "nothing";
  try { inside = frame.contentDocument?.title ?? "nothing"; } catch { inside = "nothing"; }
  document.title = "done " + ends.map((e) => e.status === "fulfilled" && typeof e.value === "string" ? "read" : e.status).join(" ") + " " + inside;
})();
</script>`;

// A page that is served from the files.
const evil = `<!doctype html><meta charset="utf-8"><title>evil</title><body><script>
(async () => {
  const log = [];
  const attempt = async (name, run) => { try { log.push(name + ":" + await run()); } catch (e) { log.push(name + ":no"); } };
  await attempt("write", async () => (await fetch("/victim.txt", { method: "PUT", body: "evil" })).status);
  await attempt("blind", async () => (await fetch("/victim.txt", { method: "POST", mode: "no-cors", body: "evil" })).type);
  await attempt("restore", async () => (await fetch("/.ifmatch/restore?path=/victim.txt&id=x", { method: "POST", mode: "no-cors" })).type);
  await attempt("logout", async () => (await fetch("/.ifmatch/logout", { method: "POST", mode: "no-cors", body: new URLSearchParams(),
    credentials: "include" })).type);
  await attempt("read", async () => (await fetch("/victim.txt")).text());
  await attempt("list", async () => (await fetch("/.ifmatch/list?path=/")).text());
  await attempt("worker", async () => { await navigator.serviceWorker.register("/sw.js"); return "yes"; });
  await attempt("cookie", async () => { document.cookie = "a=b"; return document.cookie || "none"; });
  await attempt("storage", async () => { localStorage.setItem("ifmatch draft /victim.txt", "x"); return "yes"; });
  await attempt("opener", async () => opener ? opener.document.title : "none");
  await attempt("parent", async () => parent !== window ? parent.document.title : "none");
  await attempt("frame", async () => {
    const f = document.createElement("iframe");
    f.src = "/";
    const loaded = new Promise((done) => (f.onload = done));
    document.body.append(f);
    await loaded;
    return f.contentDocument ? "yes" : "no";
  });
  await attempt("referer", async () => (await fetch("${away}/referer")).status);
  const form = document.createElement("form");
  form.method = "POST";
  form.action = "/.ifmatch/restore?path=/victim.txt&id=x";
  document.title = "log " + log.join(" ");
})();
</script>`;

await server.send("PUT", "/victim.txt", "untouched");
await server.send("PUT", "/evil.html", evil);
await server.send("PUT", "/sw.js", "self.onfetch = (e) => e.respondWith(new Response('owned'))");
await server.send("PUT", "/uploaded.js", "globalThis.owned = true");
await server.send(
  "PUT",
  "/evil.svg",
  `<svg xmlns="http://www.w3.org/2000/svg"><script>parent.owned = true</script></svg>`,
);

/** Fails if the reader is not logged in any more. */
async function loggedIn(page) {
  await page.reload();
  await page.locator("body.live .who", { hasText: "ann" }).waitFor();
}

test("a served page that is opened can read, write and register nothing here", async () => {
  beside.length = 0;
  const page = await visit(server.url + "/", ann);
  const tab = await page.context().newPage();
  await tab.goto(`${server.url}/evil.html`);
  await tab.waitForFunction(() => document.title.startsWith("log "));
  const log = await tab.title();
  for (const name of ["write", "read", "list", "worker", "storage"])
    assert.match(log, new RegExp(`\\b${name}:no\\b`), log);
  assert.match(log, /cookie:no/);
  assert.match(log, /frame:no/);
  assert.equal(await server.text("/victim.txt"), "untouched");
  assert.deepEqual(beside, [{ url: "/referer", referer: "" }]);
  await loggedIn(page);
  page.clean();
  await page.context().close();
});

test("its preview in the page runs nothing, and asks for nothing", async () => {
  beside.length = 0;
  const page = await visit(server.url + "/", ann);
  await edit(page, "evil.html");
  const asked = [];
  page.on("request", (request) => {
    if (request.frame() !== page.mainFrame()) asked.push(new URL(request.url()).pathname);
  });
  await press(page, "Preview");
  const frame = page.frameLocator("iframe");
  await frame.locator("body").waitFor({ state: "attached" });
  assert.equal(await page.locator("iframe").getAttribute("sandbox"), "");
  await page.waitForTimeout(500); // what would come, would come now
  assert.deepEqual(asked, ["/evil.html"]);
  assert.deepEqual(beside, []);
  assert.equal(await page.evaluate(() => globalThis.owned), undefined);
  await page.context().close();
});

test("no file of the server is a script of the page", async () => {
  const page = await visit(server.url + "/", ann);
  const told = await page.evaluate(async () => {
    const violations = [];
    document.addEventListener("securitypolicyviolation", (e) => violations.push(e.effectiveDirective));
    const script = document.createElement("script");
    let refused = "";
    try {
      script.src = "/uploaded.js";
    } catch {
      refused = "sink";
    }
    script.setAttribute("async", "");
    document.body.append(script);
    let module = "loaded";
    await import("/uploaded.js").catch(() => {
      module = "refused";
    });
    let inline = "made";
    try {
      document.body.innerHTML = "<img src=x onerror=alert(1)>";
    } catch {
      inline = "refused";
    }
    let policy = "made";
    try {
      trustedTypes.createPolicy("other", { createHTML: (s) => s });
    } catch {
      policy = "refused";
    }
    let worker = "made";
    try {
      new Worker("/uploaded.js");
    } catch {
      worker = "refused";
    }
    let text = "ran";
    try {
      (0, eval)("globalThis.owned = true");
    } catch {
      text = "refused";
    }
    return {
      refused,
      module,
      inline,
      policy,
      worker,
      text,
      owned: globalThis.owned === true,
      violations: violations.length > 0,
    };
  });
  assert.deepEqual(told, {
    refused: "sink",
    module: "refused",
    inline: "refused",
    policy: "refused",
    worker: "refused",
    text: "refused",
    owned: false,
    violations: true,
  });
  page.forget();
  await page.context().close();
});

test("a page of another port of the same address can do nothing, and show nothing of the page", async () => {
  const page = await visit(server.url + "/", ann);
  const before = execFileSync(process.env.IFMATCH, ["sessions", "list", server.dir]).toString();
  const tab = await page.context().newPage();
  await tab.goto(`${away}/form`);
  await tab.waitForFunction(() => document.title.startsWith("done "));
  assert.doesNotMatch(await tab.title(), /read/);
  assert.match(await tab.title(), /nothing$/);
  assert.equal(await server.text("/victim.txt"), "untouched");
  await loggedIn(page);
  assert.equal(execFileSync(process.env.IFMATCH, ["sessions", "list", server.dir]).toString(), before, "no session came or went");
  page.clean();
  await page.context().close();
});

test("a picture that is a program is shown, and does not run", async () => {
  const page = await visit(server.url + "/", ann);
  await page.getByRole("link", { name: "evil.svg", exact: true }).click();
  await page.locator(".cm-content, img").first().waitFor();
  assert.equal(await page.evaluate(() => globalThis.owned), undefined);
  page.clean();
  await page.context().close();
});

test("names are texts, whatever they are, and each of them can be used", async () => {
  const names = [
    "<img src=x onerror=alert(1)>.txt",
    `"onmouseover="alert(1)`,
    "a\nb.txt",
    "\u202egpj.exe.txt",
    "javascript:alert(1)",
    "%2e%2e%2f.txt",
    "%41.txt",
    "a&amp;b.txt",
    "#?&+ ;=.txt",
    "\\..\\..\\evil.txt",
    " spaces  two ",
    "'`${alert(1)}.txt",
    "{{x}}.txt",
    "n".repeat(255),
    "\u0000".replace("\0", "\u0001") + "x",
  ];
  const raw = Buffer.concat([Buffer.from("/names/bad"), Buffer.from([0xff, 0xfe]), Buffer.from(".txt")]);
  await server.send("MKCOL", "/names/");
  for (const name of names) await server.write(`/names/${name}`, "content");
  await server.write(raw, "content");
  const page = await visit(server.url + "/names/", ann);
  page.on("dialog", () => assert.fail("a script of a name has run"));
  await page.locator("#tools button", { hasText: "Upload files" }).waitFor();
  await until("all names are listed", async () => (await page.locator("#files tbody tr").count()) === names.length + 1);
  const links = await page
    .locator("#files tbody a")
    .evaluateAll((all) => all.map((a) => [a.getAttribute("href"), a.protocol, a.children[0].tagName]));
  for (const [href, protocol, tag] of links)
    assert.deepEqual([href.startsWith("/names/"), protocol, tag], [true, "http:", "BDI"]);
  assert.equal(await page.locator("#files img, #files script").count(), 0);
  // Each is renamed by what it is, and not by what it looks like.
  for (let left = await readdir(join(server.dir, "names"), "buffer"), n = 0; n < left.length; n++) {
    const rows = page.locator("#files tbody tr:not(:has-text('renamed-'))");
    await rows.first().getByRole("button").click();
    await press(page, "Rename");
    await page.getByLabel("New name").fill(`renamed-${n}`);
    await press(page, "OK");
    await row(page, `renamed-${n}`).waitFor();
  }
  const now = await readdir(join(server.dir, "names"));
  assert.deepEqual(
    now.filter((name) => !name.startsWith("renamed-")),
    [],
  );
  assert.equal(now.length, names.length + 1);
  await act(page, "renamed-0", "Delete");
  await press(page, "Delete");
  await said(page, "renamed-0 was deleted");
  page.clean();
  await page.context().close();
});

test("the page cannot be put in a frame of a served page, and a link to it does nothing by itself", async () => {
  await server.send("PUT", "/frame.html", `<!doctype html><iframe src="/"></iframe><a href="/#/victim.txt">x</a>`);
  const page = await visit(server.url + "/", ann);
  const tab = await page.context().newPage();
  const answered = tab.waitForResponse((response) => response.url() === `${server.url}/`);
  await tab.goto(`${server.url}/frame.html`);
  assert.equal((await answered).status(), 403);
  assert.equal(await tab.frames()[1].locator("#files").count(), 0);
  const linked = await open(page.context(), `${server.url}/#/victim.txt`);
  await linked.locator(".cm-content", { hasText: "untouched" }).waitFor();
  assert.equal(await server.text("/victim.txt"), "untouched");
  await page.context().close();
});
