// What people do with files, while others change them.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdir, readdir, readFile, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { act, cluster, open, press, row, said, serve, until, visit } from "./harness.mjs";

const server = await serve();
let count = 0;

/** A folder of its own, with files, and a page that shows it. */
async function folder(files, escape = (segment) => segment) {
  const path = `/t${count++}/`;
  await server.send("MKCOL", path);
  for (const [name, content] of Object.entries(files)) {
    const target = path + name.split("/").map(escape).join("/");
    if (name.endsWith("/")) await server.send("MKCOL", target);
    else await server.send("PUT", target, content);
  }
  const page = await visit(server.url + path);
  await page.locator("#tools button", { hasText: "Upload files" }).waitFor(); // it knows what it may do
  return { path, page, dir: join(server.dir, path) };
}

const status = async (path, method = "GET") => (await fetch(server.url + path, { method })).status;
const done = (page) => (page.clean(), page.context().close());

test("a folder and a file are made, renamed, copied, moved and deleted, and brought back", async () => {
  const { path, page } = await folder({ "a.txt": "a" });
  await press(page, "New folder");
  await page.getByLabel("Name", { exact: true }).last().fill("über & <b>");
  await press(page, "OK");
  await said(page, "was made");
  const made = `${path}%C3%BCber%20%26%20%3Cb%3E/`;
  assert.equal(await status(made), 200);

  await act(page, "a.txt", "Rename");
  await page.getByLabel("New name").fill("b #1?.txt");
  await press(page, "OK");
  await said(page, "is now");
  assert.equal(await server.text(`${path}b%20%231%3F.txt`), "a");

  await act(page, "b #1?.txt", "Copy");
  await page.getByLabel("Folder to move or copy to").fill(`${path}über & <b>/`);
  await press(page, "OK");
  await said(page, "were copied");
  assert.equal(await server.text(`${made}b%20%231%3F.txt`), "a");

  await act(page, "über & <b>/", "Delete");
  await press(page, "Delete");
  await said(page, "was deleted");
  assert.equal(await status(made), 404);
  await press(page, "Undo");
  await said(page, "is there again");
  assert.equal(await server.text(`${made}b%20%231%3F.txt`), "a");
  await done(page);
});

test("what was shown is what is deleted: a newer file, and a newer file in a folder, stay", async () => {
  const { path, page, dir } = await folder({ "a.txt": "seen", "d/": "", "d/x": "seen" });
  for (const [name, change] of [
    ["a.txt", () => server.write(`${path}a.txt`, "newer")],
    ["d/", () => server.write(`${path}d/y`, "newer")],
  ]) {
    await row(page, name).getByRole("button").click();
    await press(page, "Delete");
    await page.getByRole("heading", { name: `Delete ${name.replace("/", "")}?` }).waitFor();
    await change();
    await press(page, "Delete");
    await said(page, "has changed meanwhile");
    await press(page, "Close");
    assert.equal(await status(path + name), 200);
  }
  assert.equal(await readFile(join(dir, "d/y"), "utf8"), "newer");
  await done(page);
});

test("a rename over a file that somebody has just replaced asks again, with what is there", async () => {
  const { path, page, dir } = await folder({ "mine.txt": "mine", "theirs.txt": "one" });
  await act(page, "mine.txt", "Rename");
  await page.getByLabel("New name").fill("theirs.txt");
  await press(page, "OK");
  await said(page, "theirs.txt is there already");
  await server.write(`${path}theirs.txt`, "a newer one");
  await press(page, "Replace");
  await said(page, "It has changed again since you were asked.");
  await said(page, "11 B");
  assert.equal(await readFile(join(dir, "theirs.txt"), "utf8"), "a newer one");
  await press(page, "Replace");
  await said(page, "is now");
  assert.equal(await server.text(`${path}theirs.txt`), "mine");
  assert.equal(await status(`${path}mine.txt`), 404);
  const { versions } = await (await server.send("GET", `/.ifmatch/history?path=${path}theirs.txt`)).json();
  assert.equal(
    await server.text(`/.ifmatch/version?path=${path}theirs.txt&id=${encodeURIComponent(versions[0].id)}`),
    "a newer one",
  );
  await done(page);
});

test("a rename of a file that has changed since it was shown is refused", async () => {
  const { path, page, dir } = await folder({ "a.txt": "seen" });
  await act(page, "a.txt", "Rename");
  await server.write(`${path}a.txt`, "newer");
  await page.getByLabel("New name").fill("b.txt");
  await press(page, "OK");
  await said(page, "a.txt has changed meanwhile");
  assert.deepEqual(await readdir(dir), ["a.txt"]);
  await done(page);
});

test("a file is moved to a folder whose name has signs of a URL", async () => {
  const { path, page } = await folder({ "100% #1/": "", "100% #1/a.txt": "a" }, encodeURIComponent);
  await page.goto(`${server.url}${path}100%25%20%231/`);
  await page.locator("#tools button", { hasText: "Upload files" }).waitFor();
  await act(page, "a.txt", "Copy");
  const field = page.getByLabel("Folder to move or copy to");
  assert.equal(await field.inputValue(), `${path}100% #1/`);
  await press(page, "OK");
  await said(page, "were copied");
  assert.equal(await server.text(`${path}100%25%20%231/a%20%282%29.txt`), "a"); // a copy beside it
  await act(page, "a.txt", "Move");
  await field.fill(path);
  await press(page, "OK");
  await said(page, "were moved");
  assert.equal(await server.text(`${path}a.txt`), "a");
  await done(page);
});

test("dragging moves a file into a folder", async () => {
  const { path, page } = await folder({ "a.txt": "a", "d/": "" });
  await row(page, "a.txt").dragTo(row(page, "d/"));
  await said(page, "were moved");
  assert.equal(await server.text(`${path}d/a.txt`), "a");
  await done(page);
});

test("several are chosen and deleted, with one undo for all", async () => {
  const files = Object.fromEntries([1, 2, 3, 4].map((i) => [`f${i}`, `${i}`]));
  const { path, page } = await folder(files);
  await row(page, "f1").getByRole("checkbox").check();
  await row(page, "f3")
    .getByRole("checkbox")
    .click({ modifiers: ["Shift"] });
  await said(page, "3 selected");
  await press(page, "Delete");
  await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
  await said(page, "3 entries were deleted.");
  assert.deepEqual(await Promise.all(Object.keys(files).map((f) => status(path + f))), [404, 404, 404, 200]);
  await press(page, "Undo");
  await said(page, "there again");
  assert.deepEqual(await Promise.all(Object.keys(files).map((f) => status(path + f))), [200, 200, 200, 200]);
  await done(page);
});

test("files are uploaded with their times, in folders, and what has a name is asked about", async () => {
  const { path, page, dir } = await folder({ "same.txt": "same", "other.txt": "theirs", "both.txt": "theirs" });
  const source = join(server.dir, "..", `${server.dir.split("/").pop()}-source`);
  await mkdir(join(source, "in/deep"), { recursive: true });
  for (let i = 0; i < 30; i++) await writeFile(join(source, `in/deep/n${i}.txt`), `${i}`);
  const when = new Date("2020-02-03T04:05:06Z");
  await utimes(join(source, "in/deep/n7.txt"), when, when);
  await page.locator("input[webkitdirectory]").setInputFiles(join(source, "in"));
  await said(page, "30 of 30 uploaded");
  assert.equal((await readdir(join(dir, "in/deep"))).length, 30);
  assert.equal((await server.send("HEAD", `${path}in/deep/n7.txt`)).headers.get("Last-Modified"), when.toUTCString());

  const files = ["same.txt", "other.txt", "both.txt", "new.txt"];
  for (const name of files) await writeFile(join(source, name), name === "same.txt" ? "same" : "mine");
  await page.locator("input[type=file]:not([webkitdirectory])").setInputFiles(files.map((f) => join(source, f)));
  const choices = { "same.txt": "Skip", "other.txt": "Replace", "both.txt": "Keep both" };
  for (let i = 0; i < 3; i++) {
    const heading = page.getByRole("heading", { name: "is there already" });
    await heading.waitFor();
    const name = (await heading.textContent()).replace(" is there already", "");
    await said(page, name === "same.txt" ? "Both have the same content." : "The contents differ.");
    await press(page, choices[name]);
    await page.getByRole("heading", { name: `${name} is there already` }).waitFor({ state: "detached" });
  }
  await said(page, "3 of 4 uploaded");
  assert.deepEqual(
    await Promise.all(["other.txt", "both.txt", "both%20%282%29.txt", "new.txt"].map((f) => server.text(path + f))),
    ["mine", "theirs", "mine", "mine"],
  );
  await done(page);
});

test("an answer for all is no answer about what has changed since", async () => {
  const { path, page } = await folder({ "a.txt": "theirs", "b.txt": "theirs" });
  const source = `${server.dir}-all`;
  await mkdir(source, { recursive: true });
  for (const name of ["a.txt", "b.txt"]) await writeFile(join(source, name), "mine");
  await page
    .locator("input[type=file]:not([webkitdirectory])")
    .setInputFiles(["a.txt", "b.txt"].map((f) => join(source, f)));
  await said(page, "is there already");
  const first = (await page.getByRole("heading", { name: "is there already" }).textContent()).slice(0, 5);
  await server.write(path + first, "newer");
  await page.getByLabel("Do this for all that follow").check();
  await press(page, "Replace");
  await said(page, "It has changed again since you were asked.");
  assert.equal(await server.text(path + first), "newer");
  await press(page, "Skip");
  await said(page, "1 of 2 uploaded");
  assert.equal(await server.text(path + first), "newer");
  assert.equal(await server.text(path + (first === "a.txt" ? "b.txt" : "a.txt")), "mine");
  await done(page);
});

test("changes over HTTP and on the disk appear in an open folder", async () => {
  const { path, page } = await folder({ "a.txt": "a" });
  await server.send("PUT", `${path}http.txt`, "x");
  await row(page, "http.txt").waitFor();
  await server.write(`${path}disk.txt`, "x");
  await row(page, "disk.txt").waitFor();
  await server.rename(`${path}a.txt`, `${path}z.txt`);
  await row(page, "z.txt").waitFor();
  await row(page, "a.txt").waitFor({ state: "detached" });
  await done(page);
});

test("versions are listed, compared and restored, and what is gone is brought back", async () => {
  const { path, page } = await folder({ "a.txt": "one\ntwo\n", "gone.txt": "gone" });
  await server.send("PUT", `${path}a.txt`, "one\n2\n");
  await server.send("DELETE", `${path}gone.txt`);
  await row(page, "gone.txt").waitFor({ state: "detached" });
  await act(page, "a.txt", "History");
  const dialog = page.getByRole("dialog");
  await dialog.getByRole("checkbox").first().check();
  await dialog.getByRole("checkbox").nth(1).check();
  await press(page, "Compare the two that are selected");
  await page.locator(".cm-changedText, .cm-deletedChunk, .cm-changedLine").first().waitFor();
  await press(page, "Close");
  await press(page, "Restore");
  await said(page, "a.txt is there again.");
  assert.equal(await server.text(`${path}a.txt`), "one\ntwo\n");
  await press(page, "Close");
  await press(page, "More");
  await press(page, "Deleted files");
  await press(page, "Bring back");
  await said(page, "gone.txt is there again.");
  assert.equal(await server.text(`${path}gone.txt`), "gone");
  await done(page);
});

test("a name is filtered, and searched for below", async () => {
  const { page } = await folder({ "apple.txt": "1", "pear.txt": "2", "d/": "", "d/Ápple.md": "3" });
  await page.getByPlaceholder("Filter").fill("PP");
  assert.equal(await page.locator("#files tbody tr").count(), 1);
  await page.keyboard.press("Enter");
  await page.locator(".found a", { hasText: "apple.txt" }).waitFor();
  assert.equal(await page.locator(".found a").count(), 2);
  await page.locator(".found a", { hasText: "Ápple.md" }).click();
  await page.locator(".cm-content", { hasText: "3" }).waitFor();
  await done(page);
});

test("without scripts a folder is listed, and folders and files are links", async () => {
  const { path, page: first } = await folder({ "a.txt": "a", "d/": "" });
  const page = await visit(server.url + path, { javaScriptEnabled: false });
  assert.deepEqual(await page.locator("#files tbody a").allTextContents(), ["d/", "a.txt"]);
  await page.getByRole("link", { name: "a.txt" }).click();
  await page.waitForURL(`${server.url}${path}a.txt`);
  await done(first);
});

test("by the keyboard alone: a file is chosen, renamed and deleted", async () => {
  const { path, page } = await folder({ "a.txt": "a", "b.txt": "b" });
  await row(page, "a.txt").getByRole("link").focus();
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("F2");
  await page.getByLabel("New name").waitFor();
  await page.keyboard.press("Control+a");
  await page.keyboard.type("c.txt");
  await page.keyboard.press("Enter");
  await said(page, "b.txt is now c.txt.");
  await until("the new row has the focus", () => page.evaluate(() => document.activeElement?.textContent === "c.txt"));
  await page.keyboard.press("Space");
  await said(page, "1 selected");
  await page.keyboard.press("Delete");
  await page.getByRole("heading", { name: "Delete c.txt?" }).waitFor();
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await said(page, "c.txt was deleted.");
  assert.deepEqual([await status(`${path}a.txt`), await status(`${path}c.txt`)], [200, 404]);
  await done(page);
});

test("a link to a file opens it in the page", async () => {
  const { path, page } = await folder({ "a b.txt": "linked" });
  const other = await open(page.context(), `${server.url}${path}#${path}a%20b.txt`);
  await other.locator(".cm-content", { hasText: "linked" }).waitFor();
  await done(page);
});

test("a link to a file means the bytes of its name, however it is written", async () => {
  const { path, page } = await folder({ "a&b (1)'!.txt": "plain" }, encodeURIComponent);
  const bytes = (...parts) => Buffer.concat([Buffer.from(path), ...parts.map((p) => Buffer.from(p))]);
  await server.write(bytes([0xff, 0xe9], ".txt"), "no UTF-8");
  // Local programs alone can make both: where a client names one, the server takes the other if that is there.
  if (!cluster) await server.write(bytes("e\u0301.txt"), "decomposed");
  await server.write(bytes("\u00e9.txt"), "composed");
  await server.write(bytes("o\u0308.txt"), "alone");
  await row(page, "o\u0308.txt").waitFor();
  for (const [link, content] of [
    ["%ff%E9.txt", "no UTF-8"],
    ["e%cc%81.txt", cluster ? "composed" : "decomposed"],
    ["\u00e9.txt", "composed"],
    ["%C3%B6.txt", "alone"],
    ["a%26b%20%281%29%27!.txt", "plain"],
    ["a&b (1)'!.txt", "plain"],
  ]) {
    await page.evaluate((hash) => (location.hash = hash), path + link);
    await page.locator(".cm-content", { hasText: content }).waitFor();
    await press(page, "Close");
    await page.locator(".cm-content").waitFor({ state: "detached" });
  }
  await page.evaluate((hash) => (location.hash = hash), `${path}%fe.txt`); // its name is shown as that of no other
  await said(page, "is not here");

  // What was made has the address that the server gives it, so that the page finds it.
  await press(page, "New folder");
  await page.getByLabel("Name", { exact: true }).last().fill("$ & + = @ : ' (ü)");
  await press(page, "OK");
  await said(page, "was made");
  assert.equal(await page.evaluate(() => document.activeElement?.textContent), "$ & + = @ : ' (ü)/");
  await done(page);
});

test("the link, the ETag and the curl command of a file are copied, and the command replaces what was shown", async () => {
  const { path, page, dir } = await folder({ "it's & more.txt": "one" }, encodeURIComponent);
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  const copied = async (action) => {
    await page.evaluate(() => navigator.clipboard.writeText("nothing"));
    await act(page, "it's & more.txt", action);
    let text;
    await until(`${action} has copied`, async () => (text = await page.evaluate(() => navigator.clipboard.readText())) !== "nothing");
    return text;
  };
  const link = await copied("Copy link");
  assert.equal(await (await fetch(link)).text(), "one");
  assert.equal(await copied("Copy ETag"), (await fetch(link)).headers.get("ETag"));
  const command = await copied("Copy curl command");
  await writeFile(join(dir, "two"), "two");
  const run = () => execFileSync("sh", ["-c", `${command.replace("FILE", `'${join(dir, "two")}'`)} -sf -o /dev/null -w '%{http_code}' || true`]).toString();
  assert.equal(run(), "204");
  assert.equal(await server.text(`${path}it%27s%20%26%20more.txt`), "two");
  await server.send("PUT", `${path}it%27s%20%26%20more.txt`, "three");
  assert.equal(run(), "412");
  await done(page);
});
