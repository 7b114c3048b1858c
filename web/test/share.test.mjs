// Share links, as people make, use and end them.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { act, press, said, serve, until, visit } from "./harness.mjs";

const dir = mkdtempSync(join(tmpdir(), "ifmatch-users-"));
after(() => rmSync(dir, { recursive: true, force: true }));
const users = join(dir, "users");
const ann = ["ann", "a long secret"];
execFileSync(process.env.IFMATCH, ["user", "add", "--users", users, "ann"], { input: "a long secret\n" });
const headers = { Authorization: `Basic ${btoa(ann.join(":"))}` };

test("a file is shared, and dropped files come", async () => {
  const server = await serve("--users", users);
  await server.send("MKCOL", "/in", null, headers);
  await server.send("PUT", "/in/f.txt", "hello", headers);
  const page = await visit(server.url + "/", { login: ann });
  await act(page, "in/", "Share…");
  await said(page, "There is no link here.");
  await page.getByLabel("Who has the link may").selectOption("drop");
  await page.getByLabel("Label").fill("For <me>");
  await press(page, "Make a link");
  const url = await page.getByLabel("URL of the link").inputValue();
  await press(page, "Close");

  const guest = await visit(url, { bare: true });
  assert.equal(await guest.locator("h1").textContent(), "For <me>");
  const send = async (name) => {
    await guest.locator("input[type=file]").setInputFiles({ name, mimeType: "text/plain", buffer: Buffer.from("new") });
    await press(guest, "Send");
  };
  await send("g.txt");
  await said(guest, "stored");
  await send("f.txt");
  await said(guest, "not stored");
  const got = await fetch(`${server.url}/in/f.txt`, { headers });
  assert.equal(await got.text(), "hello");
  assert.equal(await (await fetch(`${server.url}/in/g.txt`, { headers })).text(), "new");

  await press(page, "More");
  await press(page, "Share links");
  await said(page, "For <me>");
  await press(page, "End it");
  await said(page, "The link has ended.");
  await until("the link has ended", async () => (await fetch(url)).status === 404);
});
