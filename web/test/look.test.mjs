// How the page looks, and whether people who do not see it, or use no mouse, can use it. PAGE_SHOTS names a directory for
// pictures, which people look at.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import test from "node:test";
import { edit, press, row, said, saved, serve, type, visit } from "./harness.mjs";

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const shots = process.env.PAGE_SHOTS;
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

/** Fails for what axe finds. It looks into the shadow root of the editor too. */
async function check(page, what) {
  if (shots) await page.screenshot({ path: join(shots, `${page.kind}-${what}.png`) });
  // The page's policy forbids what axe would add to it. What runs from here is not bound by it.
  const violations =
    await page.evaluate(`${axe}; axe.run(document, { resultTypes: ["violations"] }).then((r) => r.violations.map((v) =>
    [v.id, v.nodes.map((n) => [n.html.slice(0, 200), n.failureSummary]).slice(0, 3)]))`);
  assert.deepEqual(violations, [], what);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
  assert.equal(wide, false, `${what} is wider than the window`);
}

test("what is wrong is found", async () => {
  const page = await visit(server.url + "/");
  page.kind = "wrong";
  await page.evaluate(() => document.querySelector("main").append(document.createElement("button")));
  await assert.rejects(check(page, "page"), /button-name/);
  await page.close();
});

for (const [width, height] of [
  [1280, 800],
  [390, 844],
]) {
  for (const colorScheme of ["light", "dark"]) {
    const often = (width === 1280) === (colorScheme === "light"); // two of the four are enough each time
    test(
      `at ${width} pixels, ${colorScheme}`,
      { skip: !often && !process.env.PAGE_LONG && "in .ci/long" },
      async () => {
        const kind = `${width}-${colorScheme}`,
          name = `edited-${kind}.txt`;
        await server.send("PUT", `/${name}`, "one\ntwo\nthree\n");
        const page = await visit(server.url + "/", { width, height, colorScheme, reducedMotion: "reduce" });
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
      },
    );
  }
}
