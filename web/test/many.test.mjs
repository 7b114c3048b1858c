// Large folders.
import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
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
    await Promise.all(some.map((n) => writeFile(join(dir, nameOf(n)), "")));
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
  const first = [...sent].filter(([path]) => path !== "/.ifmatch/list");
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
