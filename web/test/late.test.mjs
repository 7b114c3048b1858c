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
