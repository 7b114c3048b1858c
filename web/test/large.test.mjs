// Large files, a server that is killed while they are sent, and changes as they come.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { open as openFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { after } from "node:test";
import { press, row, said, serve, until, visit } from "./harness.mjs";

const server = await serve("--durability", "data");
const takesParts = (await fetch(`${server.url}/.ifmatch/uploads`, { method: "OPTIONS" })).headers.has("Tus-Version");
const long = Boolean(process.env.PAGE_LONG);
const parts = takesParts ? {} : { skip: "NOT RUN: this server takes no uploads in parts" };

/** Makes a file of random bytes, and returns its path and its SHA-256. */
async function large(name, megabytes) {
  const path = join(tmpdir(), `ifmatch-page-${process.pid}-${name}`);
  const file = await openFile(path, "w");
  const hash = createHash("sha256");
  for (let i = 0; i < megabytes; i++) {
    const some = randomBytes(1 << 20);
    hash.update(some);
    await file.write(some);
  }
  await file.close();
  after(() => rm(path, { force: true }));
  return { path, tag: `"${hash.digest("base64url")}"` };
}

const choose = (page, ...paths) => page.locator("input[type=file]:not([webkitdirectory])").setInputFiles(paths);
const tagOf = async (name) => (await server.send("HEAD", `/${name}`)).headers.get("ETag");

test("a large file arrives whole though the server is killed and started again in the middle", parts, async () => {
  const { path, tag } = await large("big.bin", long ? 1024 : 150);
  const name = path.split("/").pop();
  const page = await visit(server.url + "/");
  await page.locator("#tools button", { hasText: "Upload files" }).waitFor();
  let acknowledged = 0;
  page.on("request", (request) => {
    if (request.method() === "PATCH") acknowledged = Math.max(acknowledged, Number(request.headers()["upload-offset"]));
  });
  await choose(page, path);
  await until("a part has arrived", () => acknowledged > 0);
  await server.kill();
  await server.again();
  await said(page, "1 of 1 uploaded");
  assert.equal(await tagOf(name), tag);
  await page.context().close();
});

test(
  "a large file that somebody makes while it is asked about, and while it arrives, is asked about each time",
  parts,
  async () => {
    const { path, tag } = await large("taken.bin", 20);
    const name = path.split("/").pop();
    const page = await visit(server.url + "/");
    await page.locator("#tools button", { hasText: "Upload files" }).waitFor();
    let sent = 0;
    // The first part is held back until somebody else has been faster.
    await page.route("**/.ifmatch/uploads/*", async (route) => {
      if (route.request().method() === "PATCH" && sent++ === 0)
        await server.send("PUT", `/${name}`, "somebody was faster");
      await route.continue();
    });
    await server.send("PUT", `/${name}`, "there");
    await choose(page, path);
    await said(page, "is there already");
    await server.write(`/${name}`, "newer");
    await press(page, "Replace");
    await said(page, "It has changed again since you were asked.");
    await press(page, "Replace");
    await said(page, "19 B");
    assert.equal(await server.text(`/${name}`), "somebody was faster");
    await press(page, "Replace");
    await said(page, "1 of 1 uploaded");
    assert.equal(await tagOf(name), tag);
    await page.context().close();
  },
);

test("300 files are uploaded", async () => {
  const files = Array.from({ length: long ? 300 : 60 }, (_, i) => ({
    name: `n${i}.txt`,
    mimeType: "text/plain",
    buffer: Buffer.from(`${i}`),
  }));
  const page = await visit(server.url + "/");
  await page.locator("#tools button", { hasText: "Upload files" }).waitFor();
  await page.locator("input[type=file]:not([webkitdirectory])").setInputFiles(files);
  await said(page, `${files.length} of ${files.length} uploaded`);
  for (const i of [0, files.length - 1]) assert.equal(await server.text(`/n${i}.txt`), `${i}`);
  page.clean();
  await page.context().close();
});

test("an upload that is cancelled leaves nothing", async () => {
  const { path } = await large("cancelled.bin", 60);
  const name = path.split("/").pop();
  const page = await visit(server.url + "/");
  await page.locator("#tools button", { hasText: "Upload files" }).waitFor();
  const session = await page.context().newCDPSession(page);
  await session.send("Network.enable");
  await session.send("Network.emulateNetworkConditions", {
    offline: false,
    latency: 0,
    downloadThroughput: -1,
    uploadThroughput: 1 << 16, // so that it is on its way still, however late the press comes
  });
  await choose(page, path);
  await press(page, "Cancel all");
  await said(page, "0 of 1 uploaded");
  assert.equal((await fetch(`${server.url}/${name}`)).status, 404);
  await page.context().close();
});

test("what others do shows after the server was started again", async () => {
  const page = await visit(server.url + "/");
  await server.send("PUT", "/before.txt", "x");
  await row(page, "before.txt").waitFor();
  await server.kill();
  await server.again();
  await server.write("/after.txt", "x");
  await row(page, "after.txt").waitFor();
  await page.context().close();
});
