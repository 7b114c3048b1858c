// Two people, and a program on the disk, change one file.
import assert from "node:assert/strict";
import test from "node:test";
import { edit, open, press, said, saved, serve, type, visit } from "./harness.mjs";

const server = await serve();
let count = 0;

/** Two readers with the same file open. */
async function two(content) {
  const name = `f${count++}.txt`;
  await server.send("PUT", `/${name}`, content);
  const pages = [await visit(server.url + "/"), await visit(server.url + "/")];
  for (const page of pages) await edit(page, name);
  return { name, ann: pages[0], bob: pages[1], text: () => server.text(`/${name}`) };
}

async function close(...pages) {
  for (const page of pages) {
    page.clean();
    await page.context().close();
  }
}

test("two edits that do not overlap end in a file that has both, with a program's edit between", async () => {
  const { name, ann, bob, text } = await two("1\n2\n3\n4\n5\n6\n7\n");
  await type(ann, "Control+Home", "ann ");
  await type(bob, "Control+End", "bob\n");
  await press(ann, "Save");
  await saved(ann);
  await server.write(`/${name}`, (await text()).replace("4\n", "four, by a program\n"));
  await press(bob, "Save");
  await said(bob, "do not overlap");
  await press(bob, "Save merged");
  await saved(bob);
  assert.equal(await text(), "ann 1\n2\n3\nfour, by a program\n5\n6\n7\nbob\n");
  await close(ann, bob);
});

test("a file that is clicked twice is opened once", async () => {
  const name = `f${count++}.txt`;
  await server.send("PUT", `/${name}`, "x\n");
  const page = await visit(server.url + "/");
  let reads = 0; // looks come with each change that is told, too
  page.on("request", (request) => (reads += request.method() === "GET" && request.url().endsWith(name)));
  await page.getByRole("link", { name, exact: true }).evaluate((link) => (link.click(), link.click()));
  await page.locator(".cm-content").first().waitFor();
  await press(page, "Close");
  await page.locator("dialog.full").waitFor({ state: "detached" });
  assert.equal(reads, 1);
  await close(page);
});

test("where both change the same line, the reader decides, by the keyboard alone", async () => {
  const { ann, bob, text } = await two("one\ntwo\n");
  await type(ann, "Control+Home", "A ");
  await type(bob, "Control+Home", "B ");
  await ann.keyboard.press("Control+s");
  await saved(ann);
  await bob.keyboard.press("Control+s");
  await said(bob, "changed the same lines");
  await press(bob, "Save merged");
  await said(bob, "1 left to decide"); // nothing was chosen, so nothing is saved
  assert.equal(await text(), "A one\ntwo\n");
  await bob.getByLabel("Mine").focus();
  await bob.keyboard.press("ArrowRight"); // theirs
  await bob.keyboard.press("ArrowRight"); // both
  assert.equal(await bob.getByLabel("Both").isChecked(), true);
  await bob.keyboard.press("Enter");
  await saved(bob);
  assert.equal(await text(), "B one\nA one\ntwo\n");
  await close(ann, bob);
});

test("each choice gives what it says", async () => {
  for (const [choice, want] of [
    ["Mine", "B x\n"],
    ["Theirs", "A x\n"],
    ["Edited", "C\n"],
  ]) {
    const { ann, bob, text } = await two("x\n");
    await type(ann, "Control+Home", "A ");
    await type(bob, "Control+Home", "B ");
    await press(ann, "Save");
    await saved(ann);
    await press(bob, "Save");
    await bob.getByLabel(choice, { exact: true }).first().check();
    if (choice === "Edited") await bob.locator("textarea").fill("C\n");
    await press(bob, "Save merged");
    await saved(bob);
    assert.equal(await text(), want, choice);
    await close(ann, bob);
  }
});

test("a file that moves again while the reader decides is merged again", async () => {
  const { name, ann, bob, text } = await two("1\n2\n3\n");
  await type(ann, "Control+Home", "ann ");
  await type(bob, "Control+End", "bob\n");
  await press(ann, "Save");
  await saved(ann);
  await press(bob, "Save");
  await said(bob, "do not overlap");
  await server.send("PUT", `/${name}`, "ann 1\n2, again\n3\n");
  await press(bob, "Save merged");
  await said(bob, "2, again");
  assert.equal(await text(), "ann 1\n2, again\n3\n");
  await press(bob, "Save merged");
  await saved(bob);
  assert.equal(await text(), "ann 1\n2, again\n3\nbob\n");
  await close(ann, bob);
});

test("mine is used only when it is said twice, and theirs stays in the history", async () => {
  const { ann, bob, name, text } = await two("x\n");
  await type(ann, "Control+Home", "A ");
  await type(bob, "Control+Home", "B ");
  await press(ann, "Save");
  await saved(ann);
  await press(bob, "Save");
  await press(bob, "Use mine");
  await said(bob, "Replace their version by yours?");
  await press(bob, "Cancel");
  assert.equal(await text(), "A x\n");
  await press(bob, "Use mine");
  await press(bob, "Use mine");
  await saved(bob);
  assert.equal(await text(), "B x\n");
  const { versions } = await (await server.send("GET", `/.ifmatch/history?path=/${name}`)).json();
  assert.equal(await server.text(`/.ifmatch/version?path=/${name}&id=${encodeURIComponent(versions[0].id)}`), "A x\n");
  await close(ann, bob);
});

test("theirs is taken, and both can be kept", async () => {
  const { ann, bob, name, text } = await two("x\n");
  await type(ann, "Control+Home", "A ");
  await type(bob, "Control+Home", "B ");
  await press(ann, "Save");
  await saved(ann);
  await press(bob, "Save");
  await press(bob, "Keep both");
  await said(bob, "was made");
  assert.equal(await text(), "A x\n");
  assert.equal(await server.text(`/${name.replace(".txt", "")}%20%282%29.txt`), "B x\n");
  await type(bob, "Control+Home", "B ");
  await type(ann, "Control+Home", "again ");
  await press(ann, "Save");
  await saved(ann);
  await press(bob, "Save");
  await press(bob, "Use theirs");
  await said(bob, "Theirs is open now.");
  assert.equal(await bob.locator(".cm-line").first().textContent(), "again A x");
  await close(ann, bob);
});

test("a file that was removed meanwhile is made again only when the reader says so", async () => {
  const { ann, bob, name } = await two("x\n");
  await type(bob, "Control+Home", "B ");
  await server.send("DELETE", `/${name}`);
  await press(bob, "Save");
  await said(bob, "has removed this file since you opened it");
  assert.equal((await fetch(`${server.url}/${name}`)).status, 404);
  await press(bob, "Make it again");
  await saved(bob);
  assert.equal(await server.text(`/${name}`), "B x\n");
  await close(ann, bob);
});

test("a file that was removed, and made by somebody else before it is made again, is merged and not lost", async () => {
  const { ann, bob, name } = await two("1\n2\n3\n");
  await type(bob, "Control+End", "bob\n");
  await server.send("DELETE", `/${name}`);
  await press(bob, "Save");
  await said(bob, "has removed this file since you opened it");
  await server.send("PUT", `/${name}`, "ann 1\n2\n3\n");
  await press(bob, "Make it again");
  await said(bob, "do not overlap");
  await press(bob, "Save merged");
  await saved(bob);
  assert.equal(await server.text(`/${name}`), "ann 1\n2\n3\nbob\n");
  await close(ann, bob);
});

test("nothing is typed into a text that is being saved", async () => {
  const { ann, bob, text } = await two("x\n");
  await type(bob, "Control+Home", "B");
  let answer, ask;
  const asked = new Promise((resolve) => (ask = resolve));
  await bob.route("**/*.txt", async (route) => {
    if (route.request().method() === "PUT")
      await new Promise((go) => {
        answer = go;
        ask();
      });
    await route.continue();
  });
  await bob.keyboard.press("Control+s");
  await said(bob, "Saving");
  await asked;
  await bob.keyboard.type("lost?");
  answer();
  await saved(bob);
  assert.equal(await bob.locator(".cm-line").first().textContent(), "Bx");
  assert.equal(await text(), "Bx\n");
  await close(ann, bob);
});

test("what others save shows before the reader saves", async () => {
  const { name, ann, bob } = await two("x\n");
  await type(bob, "Control+Home", "B ");
  await server.write(`/${name}`, "by a program\n");
  await said(bob, "Somebody has changed this file.");
  await ann.locator(".cm-line", { hasText: "by a program" }).waitFor(); // nothing of hers would be lost
  await close(ann, bob);
});

test("a draft outlives its tab, and is merged with what has come meanwhile", async () => {
  const { ann, bob, name, text } = await two("1\n2\n3\n");
  await type(bob, "Control+End", "draft\n");
  await said(bob, "Not saved");
  await bob.waitForFunction((key) => localStorage.getItem(key)?.includes("draft"), `ifmatch draft /${name}`);
  const context = bob.context();
  await bob.close({ runBeforeUnload: false });
  await type(ann, "Control+Home", "ann ");
  await press(ann, "Save");
  await saved(ann);
  const again = await open(context, server.url + "/");
  await again.getByRole("link", { name, exact: true }).click();
  await press(again, "Go on with the draft");
  await press(again, "Save");
  await press(again, "Save merged");
  await saved(again);
  assert.equal(await text(), "ann 1\n2\n3\ndraft\n");
  assert.equal(await again.evaluate((key) => localStorage.getItem(key), `ifmatch draft /${name}`), null);
  await close(ann, again);
});

test("line ends, a missing last one, and a mark at the beginning stay as they were", async () => {
  for (const [before, after] of [
    ["a\r\nb\r\n", "Xa\r\nb\r\n"],
    ["a\r\nb", "Xa\r\nb"],
    ["a\nb", "Xa\nb"],
    ["a\r\nb\nc\rd", "Xa\r\nb\nc\rd"],
    ["\r\r", "X\r\r"],
    ["", "X"],
  ]) {
    const name = `ends${count++}.txt`;
    await server.send("PUT", `/${name}`, before);
    const page = await visit(server.url + "/");
    await edit(page, name);
    await type(page, "Control+Home", "X");
    await press(page, "Save");
    await saved(page);
    assert.equal(JSON.stringify(await server.text(`/${name}`)), JSON.stringify(after));
    await close(page);
  }
  const marked = `mark${count++}.txt`;
  await server.send("PUT", `/${marked}`, "\ufeffa\n");
  const page = await visit(server.url + "/");
  await edit(page, marked);
  await type(page, "Control+End", "b");
  await press(page, "Save");
  await saved(page);
  const bytes = new Uint8Array(await (await server.send("GET", `/${marked}`)).arrayBuffer());
  assert.deepEqual([...bytes], [0xef, 0xbb, 0xbf, 97, 10, 98]);
  await close(page);
});

test("bytes that are no text are not edited", async () => {
  const name = `bytes${count++}.txt`;
  await server.send("PUT", `/${name}`, Uint8Array.from([0xff, 0xfe, 0, 1]));
  const page = await visit(server.url + "/");
  await page.getByRole("link", { name, exact: true }).click();
  await said(page, "This file is no text in UTF-8.");
  await press(page, "Close");
  await close(page);
});

test("leaving with changes asks first", async () => {
  const { ann, bob, text } = await two("x\n");
  await type(bob, "Control+Home", "B ");
  await bob.keyboard.press("Escape");
  await said(bob, "are not saved");
  await press(bob, "Go on editing");
  await bob.locator(".cm-content").waitFor();
  await press(bob, "Close");
  await press(bob, "Save");
  await bob.locator(".cm-content").waitFor({ state: "detached" });
  assert.equal(await text(), "B x\n");
  await close(ann, bob);
});
