// How the page looks, and whether people who do not see it, or use no mouse, can use it. PAGE_SHOTS names a directory for
// pictures, which people look at.
import assert from "node:assert/strict";
import test from "node:test";
import { check as checked, edit, looks, press, row, said, saved, serve, type, visit } from "./harness.mjs";

const server = await serve();
const logo =
  '<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"><rect width="64" height="64" fill="teal"/></svg>';
for (const [name, content] of Object.entries({
  "readme.md": "# Files\n\nSome *text*.\n",
  "notes.txt": "one\ntwo\n",
  "logo.svg": logo,
})) {
  await server.send("PUT", `/${name}`, content);
}
for (const name of ["pictures/", "a long name of a folder that goes on and on, until it has no room on a telephone/"]) {
  await server.send("MKCOL", `/${encodeURI(name)}`);
}

const check = (page, what) => checked(page, `${page.kind}-${what}`);

test("what is wrong is found", async () => {
  const page = await visit(server.url + "/");
  page.kind = "wrong";
  await page.evaluate(() => document.querySelector("main").append(document.createElement("button")));
  await assert.rejects(check(page, "page"), /button-name/);
  await page.close();
});

looks((kind, look, options) => {
  test(`at ${kind.replace("-", " pixels, ")}`, options, async () => {
    const name = `edited-${kind}.txt`;
    await server.send("PUT", `/${name}`, "one\ntwo\nthree\n");
    const page = await visit(server.url + "/", look);
    page.kind = kind;
    await page.locator("#tools button", { hasText: "Upload files" }).waitFor();
    await check(page, "folder");
    await row(page, "notes.txt").getByRole("checkbox").check();
    await said(page, "1 selected");
    await check(page, "chosen");
    await press(page, "Choose nothing");
    await row(page, "notes.txt").getByRole("button").click();
    await page.getByRole("dialog").waitFor();
    await check(page, "actions");
    await press(page, "Delete");
    await said(page, "Delete notes.txt?");
    await check(page, "delete");
    await press(page, "Cancel");
    await page
      .locator("input[type=file]:not([webkitdirectory])")
      .setInputFiles({ name: "readme.md", mimeType: "text/plain", buffer: Buffer.from("x") });
    await said(page, "readme.md is there already");
    await check(page, "taken");
    await press(page, "Skip");
    await said(page, "0 of 1 uploaded");
    await page.locator(".uploads").getByRole("button", { name: "Close" }).click();

    await edit(page, name);
    await check(page, "editor");
    await type(page, "Control+Home", "mine ");
    await server.send("PUT", `/${name}`, "theirs one\ntwo\nthree\n");
    await press(page, "Save");
    await said(page, "changed the same lines");
    await check(page, "merge-overlap");
    await page.getByLabel("Both").check();
    await press(page, "Save merged");
    await saved(page);
    await type(page, "Control+Home", "mine ");
    await server.send("PUT", `/${name}`, "mine one\ntheirs one\ntwo\nthree\nfour\n");
    await press(page, "Save");
    await said(page, "do not overlap");
    await check(page, "merge-clean");
    await press(page, "Save merged");
    await saved(page);
    await press(page, "History");
    await said(page, `History of ${name}`);
    await check(page, "history");
    await press(page, "Close");
    await press(page, "Close");
    await row(page, "logo.svg").waitFor();
    await page.close();
  });
});
