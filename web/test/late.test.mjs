// Answers that come late: none of them undoes what is newer, and none takes away what the reader is at.
import assert from "node:assert/strict";
import test from "node:test";
import { act, edit, hold, press, row, said, saved, serve, type, until, visit } from "./harness.mjs";

const server = await serve();
let count = 0;

/** A folder of its own, with files, and a page that shows it. */
async function folder(files) {
  const path = `/t${count++}/`;
  await server.send("MKCOL", path);
  for (const [name, content] of Object.entries(files)) await server.send(content === null ? "MKCOL" : "PUT", path + name, content);
  const page = await visit(server.url + path);
  await page.locator("#tools button", { hasText: "Upload files" }).waitFor();
  return { path, page };
}

const lists = "**/.ifmatch/list?*";
const listAgain = (page) => page.evaluate(() => dispatchEvent(new Event("loggedin")));
const text = (page) => page.evaluate(() => document.querySelector("dialog.full .content > div").shadowRoot.querySelector(".cm-content").innerText);
const input = "input[type=file]:not([webkitdirectory])";
const file = (name) => ({ name, mimeType: "text/plain", buffer: Buffer.from(name) });
const done = (page) => (page.clean(), page.context().close());

test("one listing of a folder is on its way at most, and what was changed before it was asked for is in it", async () => {
  const { path, page } = await folder({ "a.txt": "a" });
  await page.route("**/.ifmatch/events?*", (route) => route.abort()); // the flow alone asks for listings
  await page.reload();
  await page.locator("#tools button", { hasText: "Upload files" }).waitFor();
  let asked = 0;
  page.on("request", (request) => (asked += request.url().includes("/.ifmatch/list?")));
  const listings = await hold(page, lists);
  await listAgain(page);
  const first = await listings.next();
  for (let i = 0; i < 3; i++) await listAgain(page);
  await first();
  const second = await listings.next();
  assert.equal(asked, 2, "three have asked while the first was on its way, and share one");
  await server.send("PUT", `${path}new.txt`, "new");
  await listAgain(page);
  assert.equal(asked, 2, "it waits for the second, which is older than the change");
  await second();
  await (await listings.next())();
  await row(page, "new.txt").waitFor();
  assert.equal(asked, 3);
  await done(page);
});

test("a file that is opened before the folder was listed can be edited, and its menu is whole", async () => {
  const path = `/t${count++}/`;
  await server.send("MKCOL", path);
  await server.send("PUT", `${path}a.txt`, "one");
  const page = await visit("about:blank", { bare: true });
  const early = async (element) => {
    const listings = await hold(page, lists);
    await page.goto(server.url + path);
    await page.locator("body.live").waitFor();
    const go = await listings.next();
    await element.click();
    await go();
    await page.unroute(lists);
  };
  await early(row(page, "a.txt").getByRole("button"));
  await press(page, "Rename");
  await page.keyboard.press("Escape");
  await early(page.getByRole("link", { name: "a.txt", exact: true }));
  await page.locator(".cm-content").waitFor();
  await type(page, "Control+End", " two");
  await press(page, "Save");
  await saved(page);
  await done(page);
});

test("a row that stays takes a press, and keeps the focus and the selection, while the folder is listed again", async () => {
  const { path, page } = await folder({ "b.txt": "b", "c.txt": "c" });
  await row(page, "c.txt").getByRole("checkbox").check();
  const button = await row(page, "b.txt").getByRole("button").boundingBox();
  await page.mouse.move(button.x + button.width / 2, button.y + button.height / 2);
  await page.mouse.down();
  await server.send("PUT", `${path}b.txt`, "longer");
  await row(page, "b.txt").locator(".size", { hasText: "6 B" }).waitFor();
  await page.mouse.up();
  await page.getByRole("heading", { name: "b.txt" }).waitFor();
  await press(page, "Cancel");
  await row(page, "c.txt").getByRole("checkbox").focus();
  await server.send("PUT", `${path}a.txt`, "a");
  await row(page, "a.txt").waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.ariaLabel), "Select c.txt");
  assert.equal(await row(page, "c.txt").getByRole("checkbox").isChecked(), true);
  await done(page);
});

test("a folder is deleted as it was when its menu was opened", async () => {
  const { path, page } = await folder({ "d/": null, "d/x": "seen" });
  await row(page, "d/").getByRole("button").click();
  await page.getByRole("heading", { name: "d" }).waitFor();
  await server.send("PUT", `${path}d/y`, "newer");
  await server.send("PUT", `${path}z.txt`, "z");
  await page.locator("#files a", { hasText: "z.txt" }).waitFor(); // so the folder was listed since
  await press(page, "Delete");
  await page.getByRole("heading", { name: "Delete d?" }).waitFor();
  await press(page, "Delete");
  await said(page, "d has changed meanwhile");
  assert.equal(await server.text(`${path}d/y`), "newer");
  await done(page);
});

test("a field has its text selected when it is shown, and not later, when the reader may have begun to type", async () => {
  const { page } = await folder({ "a.b.txt": "a" });
  const selected = await row(page, "a.b.txt").getByRole("link").evaluate(async (link) => {
    link.focus();
    link.dispatchEvent(new KeyboardEvent("keydown", { key: "F2", bubbles: true }));
    const field = document.activeElement;
    const now = () => field.value.slice(field.selectionStart, field.selectionEnd);
    const first = now();
    field.select();
    await new Promise((done) => setTimeout(done)); // what waits for its turn has had it
    return [first, now()];
  });
  assert.deepEqual(selected, ["a.b", "a.b.txt"]);
  await done(page);
});

test("what has the focus keeps it when what was done before shows", async () => {
  const { page } = await folder({ "a.txt": "a" });
  await act(page, "a.txt", "Rename");
  const listings = await hold(page, lists);
  await page.getByLabel("New name").fill("b.txt");
  await press(page, "OK");
  const go = await listings.next();
  await page.getByPlaceholder("Filter").focus();
  await go();
  await page.unroute(lists);
  await said(page, "is now b.txt");
  await page.keyboard.type("b");
  assert.equal(await page.getByPlaceholder("Filter").inputValue(), "b");
  await done(page);
});

test("of what the reader asks to see, the last is shown", async () => {
  const { path, page } = await folder({ "a.txt": "a", "b.txt": "b" });
  const looks = await hold(page, `**${path}a.txt`, "HEAD");
  await page.getByRole("link", { name: "a.txt", exact: true }).click();
  let go = await looks.next();
  await edit(page, "b.txt");
  await go();
  await page.unroute(`**${path}a.txt`);
  await server.send("PUT", `${path}b.txt`, "bb");
  await page.locator(".cm-content", { hasText: "bb" }).waitFor();
  assert.deepEqual(await page.locator("dialog h2").allTextContents(), ["b.txt"]);
  await press(page, "Close");

  const answers = await hold(page, "**/.ifmatch/history?*");
  await act(page, "a.txt", "History");
  go = await answers.next();
  await act(page, "b.txt", "History");
  await (await answers.next())();
  await said(page, "History of b.txt");
  const latest = page.waitForResponse((response) => response.url().includes("/.ifmatch/latest?") && response.url().includes("a.txt"));
  await go();
  await (await latest).finished();
  await press(page, "Close");
  await page.locator("dialog").waitFor({ state: "detached" });
  await done(page);
});

test("what is typed while a newer version is read stays", async () => {
  const { path, page } = await folder({ "a.txt": "one\n" });
  await edit(page, "a.txt");
  const reads = await hold(page, `**${path}a.txt`);
  await server.send("PUT", `${path}a.txt`, "two\n");
  const go = await reads.next();
  await type(page, "Control+Home", "mine ");
  await go();
  await said(page, "Somebody has changed this file.");
  assert.match(await text(page), /^mine one\n/);
  await done(page);
});

test("a version that was read before a save does not take the place of what was saved", async () => {
  const { path, page } = await folder({ "a.txt": "1\n2\n3\n" });
  await edit(page, "a.txt");
  const reads = await hold(page, `**${path}a.txt`);
  await server.send("PUT", `${path}a.txt`, "1\n2\n3\ntheirs\n");
  const go = await reads.next();
  await type(page, "Control+Home", "mine ");
  await press(page, "Save");
  await said(page, "do not overlap");
  await press(page, "Save merged");
  await saved(page);
  const looked = page.waitForResponse((response) => response.request().method() === "HEAD" && response.url().endsWith("a.txt"));
  await go();
  await looked; // what has come is old, so the page looks again
  assert.match(await text(page), /^mine 1\n/);
  assert.equal(await server.text(`${path}a.txt`), "mine 1\n2\n3\ntheirs\n");
  await done(page);
});

test("who has saved can go on typing, also before the folder is listed", async () => {
  const { page } = await folder({ "a.txt": "one" });
  await edit(page, "a.txt");
  await type(page, "Control+Home", "x");
  const listings = await hold(page, lists);
  await press(page, "Save");
  await saved(page);
  const go = await listings.next();
  await type(page, "Control+End", "y");
  await go();
  assert.match(await text(page), /^xoney/);
  await page.unroute(lists);
  await done(page);
});

test("a draft that the reader has not decided about stays when others save", async () => {
  const { path, page } = await folder({ "a.txt": "one" });
  const key = `ifmatch draft ${path}a.txt`;
  await page.evaluate((key) => localStorage.setItem(key, `{"text":"drafted","base":"one","etag":"","typed":${Date.now()}}`), key);
  await page.getByRole("link", { name: "a.txt", exact: true }).click();
  await said(page, "Go on with the draft");
  await server.send("PUT", `${path}a.txt`, "newer");
  await page.locator("#files tr", { hasText: "5 B" }).waitFor();
  await page.keyboard.press("Escape");
  await page.locator(".cm-content", { hasText: "newer" }).waitFor();
  assert.match((await page.evaluate((key) => localStorage.getItem(key), key)) ?? "", /drafted/);
  await done(page);
});

test("what others save while the page is not looked at shows in an open file", async () => {
  const { path, page } = await folder({ "a.txt": "one" });
  await edit(page, "a.txt");
  const look = (hidden) =>
    page.evaluate((hidden) => {
      Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }, hidden);
  await look(true);
  await server.send("PUT", `${path}a.txt`, "newer");
  await listAgain(page); // as after an upload that has gone on
  await page.locator("#files tr", { hasText: "5 B" }).waitFor();
  await look(false);
  await page.locator(".cm-content", { hasText: "newer" }).waitFor();
  await done(page);
});

test("files are sent that were chosen or dropped before the part of the page that sends them has come", async () => {
  const { path, page } = await folder({});
  const modules = await hold(page, "**/upload.js");
  await page.locator(input).setInputFiles(file("a.txt"));
  const go = await modules.next();
  await page.locator(input).setInputFiles(file("b.txt"));
  const session = await page.context().newCDPSession(page);
  const data = { items: [], files: [new URL(import.meta.url).pathname], dragOperationsMask: 1 };
  for (const type of ["dragEnter", "dragOver", "drop"]) await session.send("Input.dispatchDragEvent", { type, x: 600, y: 400, data });
  await go();
  for (const name of ["a.txt", "b.txt", "late.test.mjs"]) await row(page, name).waitFor();
  assert.equal(await server.text(`${path}a.txt`), "a.txt");
  await page.locator(".uploads").waitFor({ state: "detached" });
  await done(page);
});

test("the clipboard has what was copied last", async () => {
  const { path, page } = await folder({ "a.txt": "a", "b.txt": "b" });
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  await page.route(lists, async (route) => {
    const response = await route.fetch();
    const listing = await response.json();
    for (const member of listing.members) delete member.etag; // as of a file that the server has not read yet
    await route.fulfill({ response, json: listing });
  });
  await server.send("PUT", `${path}c.txt`, "c");
  await row(page, "c.txt").waitFor();
  const looks = await hold(page, `**${path}a.txt`, "HEAD");
  await act(page, "a.txt", "Copy ETag");
  const go = await looks.next();
  await act(page, "b.txt", "Copy link");
  await said(page, "Copied");
  await go();
  await page.unroute(`**${path}a.txt`);
  await act(page, "a.txt", "Rename"); // by when the answer was read
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), `${server.url}${path}b.txt`);
  await page.keyboard.press("Escape");
  await page.unroute(lists);
  await done(page);
});
