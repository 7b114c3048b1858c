// Share links, as people make, use and end them.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { act, check, looks, press, row, said, serve, until, visit } from "./harness.mjs";

const dir = mkdtempSync(join(tmpdir(), "ifmatch-users-"));
after(() => rmSync(dir, { recursive: true, force: true }));
const users = join(dir, "users");
const ann = ["ann", "a long secret"];
execFileSync(process.env.IFMATCH, ["user", "add", "--users", users, "ann"], { input: "a long secret\n" });
const headers = { Authorization: `Basic ${btoa(ann.join(":"))}` };

/** Presses a button twice before anything can be answered. */
const twice = (page, name) =>
  page.getByRole("button", { name, exact: true }).evaluate((button) => (button.click(), button.click()));

test("a file is shared, and dropped files come", async () => {
  const server = await serve("--users", users);
  await server.send("MKCOL", "/in", null, headers);
  await server.send("PUT", "/in/f.txt", "hello", headers);
  const page = await visit(server.url + "/", { login: ann });
  await act(page, "in/", "Share…");
  await said(page, "There is no link here.");
  await page.getByLabel("Who has the link may").selectOption("drop");
  await page.getByLabel("Label").fill("For <me>");
  await twice(page, "Make a link");
  const url = await page.getByLabel("URL of the link").inputValue();
  assert.equal(await page.getByRole("button", { name: "End it" }).count(), 1, "a press too many makes no other link");
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
  await twice(page, "End it");
  await said(page, "The link has ended.");
  await until("the link has ended", async () => (await fetch(url)).status === 404);
});

looks((kind, look, options) => {
  test(`the dialogs at ${kind.replace("-", " pixels, ")}, by keyboard alone`, options, async () => {
    const own = join(dir, kind); // the links are kept beside
    execFileSync(process.env.IFMATCH, ["user", "add", "--users", own, "ann"], { input: "a long secret\n" });
    const server = await serve("--users", own);
    const long = encodeURIComponent("a long name of a folder, that goes on and on until it has no room on a telephone");
    await server.send("MKCOL", `/${long}/`, null, headers);
    await server.send("PUT", "/f.txt", "hello", headers);
    const page = await visit(server.url + "/", { login: ann, ...look });
    const keys = async (...names) => {
      for (const name of names) await page.keyboard.press(name);
    };
    const focused = () => page.evaluate(() => document.activeElement.labels?.[0]?.textContent ?? document.activeElement.textContent);
    /** Goes on by Tab until something has the focus. */
    const to = (text) =>
      until(`${text} has the focus`, async () => {
        if ((await focused()).startsWith(text)) return true;
        await keys("Tab");
        return false;
      });
    await row(page, `${decodeURIComponent(long)}/`).getByRole("button").focus();
    await keys("Enter");
    await to("Share…");
    await keys("Enter");
    await said(page, "There is no link here.");
    await check(page, `share-${kind}-none`);
    assert.equal(await focused(), "Who has the link may");
    await keys("End");
    await to("It ends in");
    await keys("Home");
    await to("Label");
    await page.keyboard.type("For the people of the other house, who send their pictures");
    await to("Password");
    await page.keyboard.type("a long secret");
    await to("Make a link");
    await keys("Enter");
    const url = page.getByLabel("URL of the link");
    await url.waitFor();
    await said(page, /add files, and see nothing, until .*, with a password/);
    await check(page, `share-${kind}-made`);
    assert.equal(await page.evaluate(() => getSelection().toString() || document.activeElement.value), await url.inputValue());
    await to("Copy");
    await to("End it");
    await keys("Enter");
    await said(page, "There is no link here.");
    await said(page, "The link has ended.");
    assert.notEqual(await page.evaluate(() => document.activeElement.tagName), "BODY", "the focus stays in the dialog");
    await check(page, `share-${kind}-ended`);
    await keys("Escape");
    await page.getByRole("dialog").waitFor({ state: "detached" });
    const guest = await visit(await linkTo(server, `/${long}/`), { bare: true, ...look });
    await check(guest, `share-${kind}-drop`);
    await guest
      .locator("input[type=file]")
      .setInputFiles({ name: "g.txt", mimeType: "text/plain", buffer: Buffer.from("new") });
    await press(guest, "Send");
    await said(guest, "stored");
    await check(guest, `share-${kind}-dropped`);
    const reader = await visit(await linkTo(server, `/${long}/`, "read"), { bare: true, ...look });
    await said(reader, "g.txt");
    await check(reader, `share-${kind}-read`);
    page.clean();
  });
});

/** Makes a link, as another program. */
async function linkTo(server, path, access = "drop") {
  const body = { path, access, label: "For you", expires: new Date(Date.now() + 86_400_000).toISOString() };
  const json = { ...headers, "Content-Type": "application/json" };
  const made = await server.send("POST", "/.ifmatch/links", JSON.stringify(body), json);
  return server.url + (await made.json()).href;
}
