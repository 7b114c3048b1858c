// Large folders.
import assert from "node:assert/strict";
import { mkdir, readFile, utimes, writeFile } from "node:fs/promises";
import http from "node:http";
import { join } from "node:path";
import test from "node:test";
import { serve, until, visit } from "./harness.mjs";

const server = await serve();

async function fill(name, count) {
  const dir = join(server.dir, name);
  await mkdir(dir);
  for (let i = 0; i < count; i += 500) {
    const some = Array.from({ length: Math.min(500, count - i) }, (_, k) => i + k);
    // 20 bytes, of which no two have much in common
    const nameOf = (n) =>
      Buffer.from(`${(n * 2654435761) % 4294967296}:${n}`)
        .toString("hex")
        .slice(0, 14) + String(n).padStart(6, "0");
    await Promise.all(
      some.map(async (n) => {
        await writeFile(join(dir, nameOf(n)), "");
        const saved = 1_700_000_000 + n * 61; // seconds: no two files are of one minute, however fast the disk is
        await utimes(join(dir, nameOf(n)), saved, saved);
      }),
    );
  }
}

test("the first view of 1,000 names is small", async () => {
  await fill("thousand", 1000);
  const page = await visit(server.url + "/");
  const session = await page.context().newCDPSession(page);
  await session.send("Network.enable");
  await session.send("Network.clearBrowserCache");
  const sent = new Map(),
    urls = new Map();
  session.on("Network.responseReceived", (e) => urls.set(e.requestId, new URL(e.response.url).pathname));
  session.on("Network.loadingFinished", (e) => sent.set(urls.get(e.requestId), e.encodedDataLength));
  await page.goto(`${server.url}/thousand/`);
  await page.locator("body.live").waitFor();
  await until("all has come", () => [...sent.keys()].some((path) => path === "/.ifmatch/list"));
  const later = /\/(list|events|live\.js)$/; // the ETags, and what is asked for when they have come
  const first = [...sent].filter(([path]) => !later.test(path));
  const bytes = first.reduce((sum, [, n]) => sum + n, 0);
  console.log(
    `${bytes} bytes for the first view, of which the HTML is ${sent.get("/thousand/")}; the list with ETags is ${sent.get("/.ifmatch/list")}`,
  );
  assert.ok(bytes <= 60_000, `${bytes} bytes: ${JSON.stringify(first)}`);
  assert.equal(await page.locator("#files tbody tr").count(), 1000);
  page.clean();
});

const many = process.env.PAGE_LONG ? 50_000 : 5000;

test(`${many} names are sorted, filtered and walked through, and few of them are in the document`, async () => {
  await fill("many", many);
  const page = await visit(`${server.url}/many/`);
  await until("all are known", () =>
    page.evaluate((n) => document.querySelector("#files").getAttribute("aria-rowcount") === n, String(many + 1)),
  );
  const inDocument = () => page.locator("#files tbody tr[data-href]").count();
  assert.ok((await inDocument()) < 300, `${await inDocument()} rows`);
  await page.locator("#files tbody a").first().focus();
  await page.keyboard.press("End");
  const last = await page.evaluate(() => document.activeElement.closest("tr").getAttribute("aria-rowindex"));
  assert.equal(last, String(many + 1));
  await page.getByPlaceholder("Filter").fill(String(many - 1).padStart(6, "0"));
  await until("one is left", async () => (await inDocument()) === 1);
  await page.getByPlaceholder("Filter").fill("");
  await page.getByRole("button", { name: "Changed" }).click();
  await until("all are there again", async () => (await inDocument()) > 20);
  await page.keyboard.press("Control+a");
  await page.getByText(`${many} selected`).waitFor();
  await page.keyboard.press("Escape");
  page.clean();
});

/** The time that the server has used, in milliseconds, and its memory in megabytes (Linux). */
async function used() {
  const of = (name) => readFile(`/proc/${server.process.pid}/${name}`, "utf8");
  const [user, system] = (await of("stat")).split(") ")[1].split(" ").slice(11, 13).map(Number);
  return { time: 10 * (user + system), memory: Number(/VmRSS:\s+(\d+)/.exec(await of("status"))[1]) / 1024 };
}

const seconds = 60;

test("a hundred open pages cost a quiet server next to nothing", { skip: !process.env.PAGE_LONG && "in .ci/long" }, async () => {
  await fill("quiet", 1000);
  const open = [];
  let told = 0;
  const page = async () => {
    await (await fetch(`${server.url}/quiet/`, { headers: { Accept: "text/html" } })).text();
    const { token } = await (await fetch(`${server.url}/.ifmatch/list?path=/quiet/`)).json();
    const url = `${server.url}/.ifmatch/events?${new URLSearchParams({ path: "/quiet/", since: token })}`;
    await new Promise((done, failed) => {
      const request = http.get(url, { agent: false }, (response) => {
        assert.equal(response.statusCode, 200);
        response.on("data", (data) => (told += /event: change/.test(data)));
        response.on("error", () => {}); // at the end
        done();
      });
      request.on("error", failed);
      open.push(request);
    });
  };
  const before = await used();
  for (let i = 0; i < 100; i++) await page();
  const opened = await used();
  await new Promise((done) => setTimeout(done, 1000 * seconds)); // the time that is measured
  const quiet = await used();
  const perSecond = (quiet.time - opened.time) / seconds;
  console.log(
    `100 open pages: ${perSecond.toFixed(1)} ms of CPU in a second, and ${(quiet.memory - before.memory).toFixed(0)} MB more memory`,
  );
  assert.ok(perSecond < 20, `${perSecond} ms in a second`);
  assert.ok(quiet.memory - before.memory < 100, `${quiet.memory} MB after ${before.memory} MB`);
  await server.send("PUT", "/quiet/new.txt", "new");
  await until("all have heard of a change", () => told === 100);
  for (const request of open) request.destroy();
});
