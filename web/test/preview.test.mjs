// Files that browsers can show.
import assert from "node:assert/strict";
import test from "node:test";
import { press, said, serve, visit } from "./harness.mjs";

const server = await serve();
const png = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
  "base64",
);
const pdf =
  "%PDF-1.1\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj 2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\ntrailer<</Root 1 0 R>>";
await server.send("PUT", "/a b.png", png);
await server.send("PUT", "/x.svg", '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>');
await server.send("PUT", "/x.pdf", pdf);
await server.send("PUT", "/x.bin", Uint8Array.from([0, 1, 2]));
await server.send("PUT", "/x.mp3", Uint8Array.from([0, 1, 2]));
await server.send("PUT", "/huge.txt", "x".repeat((2 << 20) + 1));

for (const [name, selector, size] of [
  ["a b.png", "img", 1],
  ["x.svg", "img", 9],
  ["x.mp3", "audio"],
  ["x.pdf", "iframe"],
]) {
  test(`${name} is shown`, async () => {
    const page = await visit(server.url + "/");
    await page.getByRole("link", { name, exact: true }).click();
    const element = page.locator(`.content ${selector}`);
    await element.waitFor({ state: "attached" });
    if (size) {
      await page.waitForFunction((wanted) => document.querySelector(".content img").naturalWidth === wanted, size);
    }
    await press(page, "Close");
    await element.waitFor({ state: "detached" });
    page.clean();
    await page.context().close();
  });
}

test("what cannot be shown, or is too large, is said, and can be downloaded", async () => {
  const page = await visit(server.url + "/");
  for (const [name, text] of [
    ["x.bin", "There is no preview"],
    ["huge.txt", "too large to be edited"],
  ]) {
    await page.getByRole("link", { name, exact: true }).click();
    await said(page, text);
    const download = page.waitForEvent("download");
    await press(page, "Download");
    assert.equal((await download).suggestedFilename(), name);
    await press(page, "Close");
  }
  page.clean();
  await page.context().close();
});

test("a folder is downloaded as a zip archive, and so is what was chosen", async () => {
  await server.send("MKCOL", "/d/");
  await server.send("PUT", "/d/f", "1");
  const page = await visit(`${server.url}/d/`);
  await page.locator("#tools button", { hasText: "More" }).waitFor();
  const download = page.waitForEvent("download");
  await press(page, "More");
  await press(page, "Download as zip");
  assert.equal((await download).suggestedFilename(), "d.zip");
  page.clean();
  await page.context().close();
});
