// The example of client.js, on a site of its own.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import test, { after } from "node:test";
import { serve, visit } from "./harness.mjs";

const files = {
  "/example.html": ["text/html", new URL("../../docs/example.html", import.meta.url)],
  "/client.js": ["text/javascript", new URL("../client.js", import.meta.url)],
};
const site = createServer(async (request, response) => {
  const [type, file] = files[request.url.split("?")[0]] ?? [];
  response.writeHead(file ? 200 : 404, { "Content-Type": type ?? "text/plain" });
  response.end(file ? await readFile(file) : "");
});
await new Promise((resolve) => site.listen(0, "127.0.0.1", resolve));
after(() => site.close());
const origin = `http://127.0.0.1:${site.address().port}`;

test("a page of another site edits a file, and is told of the version that came between", async () => {
  const server = await serve("--cors-origin", origin);
  await server.send("PUT", "/note.txt", "one");
  const page = await visit(`${origin}/example.html?note=${server.url}/note.txt`, { bare: true });
  const state = (text) => page.locator("#state", { hasText: new RegExp(`^${text}`) }).waitFor();
  await state("loaded");
  await page.locator("#text").fill("two");
  await page.getByRole("button").click();
  await state("saved");
  assert.equal(await server.text("/note.txt"), "two");
  await server.send("PUT", "/note.txt", "theirs");
  await page.locator("#text").fill("mine");
  await page.getByRole("button").click();
  await state("somebody else has saved");
  assert.equal(await server.text("/note.txt"), "theirs");
  assert.equal(await page.locator("#text").inputValue(), "mine\n---- theirs ----\ntheirs");
  await page.getByRole("button").click();
  await state("saved");
  assert.equal(await server.text("/note.txt"), "mine\n---- theirs ----\ntheirs");
  page.clean();
});
