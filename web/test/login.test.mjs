// The login by the form, as people and their browsers go through it.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { after } from "node:test";
import { act, check as checked, cluster, edit, hold, logIn, open, press, row, said, saved, serve, type, until, visit } from "./harness.mjs";

const shots = process.env.PAGE_SHOTS;
const users = join(tmpdir(), `ifmatch-login-users-${process.pid}`);
const ifmatch = (...args) => execFileSync(process.env.IFMATCH, args).toString();
for (const name of ["ann", "bob"])
  execFileSync(process.env.IFMATCH, ["user", "add", "--users", users, name], { input: "a long secret\n" });
after(() => rm(users, { force: true }));
const server = await serve("--users", users);
server.headers = { Authorization: `Basic ${btoa("ann:a long secret")}` };
await server.send("MKCOL", "/docs/");
await server.send("PUT", "/docs/a%20%26%20b.txt", "one\n");
const ann = ["ann", "a long secret"];
const bob = ["bob", "a long secret"];

const check = (page, what) => checked(page, `login-${what}`);

test("a person who opens a folder logs in by the form, gets there, and logs out", async () => {
  const page = await visit(server.url + "/docs/?after=x", { bare: true, colorScheme: "dark" });
  await check(page, "form");
  await logIn(page, "ann", "wrong", true);
  await page.getByRole("alert").waitFor();
  assert.equal(await page.getByLabel("Name").inputValue(), "ann");
  await check(page, "wrong");
  await logIn(page, ...ann);
  assert.equal(page.url(), server.url + "/docs/?after=x");
  await page.locator(".who", { hasText: "ann" }).waitFor();
  await check(page, "page");
  assert.deepEqual(await page.evaluate(() => document.cookie), "", "no script can read the cookie");
  await press(page, "Log out");
  await page.getByLabel("Password").waitFor();
  assert.equal(page.url(), server.url + "/docs/");
  await page.goBack(); // what the browser has kept of the page asks the server, too
  await page.getByLabel("Password").waitFor();
  assert.equal(ifmatch("sessions", "list", server.dir), "");
  page.clean();
  await page.context().close();
});

test("a link to a file leads there over the login, also after a wrong password", async () => {
  const page = await visit(server.url + "/docs/#/docs/a%20&%20b.txt", { bare: true });
  await logIn(page, "ann", "wrong", true);
  await page.getByRole("alert").waitFor();
  await logIn(page, ...ann);
  await page.locator(".cm-content", { hasText: "one" }).waitFor();
  page.clean();
  await page.context().close();
});

const begun = (page, text) =>
  page.waitForFunction((text) => Object.values(localStorage).some((draft) => draft.includes(text)), text);
const kept = (page) => page.evaluate(() => Object.keys(localStorage));

test("a draft is of the user who has typed it", async () => {
  await server.send("PUT", "/docs/draft.txt", "one\n");
  const page = await visit(server.url + "/docs/", { login: ann });
  await edit(page, "draft.txt");
  await type(page, "Control+End", "of ann");
  await begun(page, "of ann");
  const change = async (name, to) => {
    ifmatch("sessions", "end", server.dir, name); // nobody is asked, so the draft stays
    await page.goto("about:blank"); // and so out of the editor
    await page.goto(server.url + "/docs/");
    await logIn(page, ...to);
  };
  await change("ann", bob);
  await edit(page, "draft.txt");
  assert.equal(await page.locator(".cm-content").textContent(), "one");
  assert.equal(await page.getByRole("dialog").filter({ hasText: "Go on with the draft" }).count(), 0);
  await change("bob", ann);
  await page.getByRole("link", { name: "draft.txt", exact: true }).click();
  await press(page, "Go on with the draft");
  await page.locator(".cm-content", { hasText: "of ann" }).waitFor();
  ifmatch("sessions", "end", server.dir, "ann");
  page.clean();
  await page.context().close();
});

test("nothing that was typed is left in the browser after a logout, and no tab shows more of it", async () => {
  await server.send("PUT", "/docs/left%20%C3%A9.txt", "one\n");
  const page = await visit(server.url + "/docs/", { login: ann });
  await page.evaluate(() => {
    const month = 31 * 86_400_000;
    localStorage.setItem("ifmatch draft of ann /docs/old.txt", `{"text":"a","base":"b","typed":${Date.now() - month}}`);
    localStorage.setItem("ifmatch draft of bob /docs/draft.txt", `{"text":"of bob","base":"b"}`);
    localStorage.setItem("ifmatch draft /docs/before.txt", `{"text":"a","base":"b"}`);
    localStorage.setItem("other", "x");
  });
  const other = await open(page.context(), server.url + "/docs/");
  await until("an old draft has gone", async () => !(await kept(page)).some((key) => key.endsWith("/docs/old.txt")));
  await edit(other, "left é.txt");
  await type(other, "Control+End", "of ann");
  await begun(other, "of ann");
  await press(page, "Log out");
  await said(page, "/docs/left é.txt");
  await said(page, "/docs/before.txt");
  await check(page, "drafts");
  await press(page, "Stay logged in");
  assert.equal((await kept(page)).length, 4);
  await page.locator(".who", { hasText: "ann" }).waitFor();
  await press(page, "Log out");
  await press(page, "Discard it and log out");
  for (const tab of [page, other]) await tab.getByLabel("Password").waitFor();
  assert.deepEqual((await kept(page)).sort(), ["ifmatch draft of bob /docs/draft.txt", "other"]);
  assert.equal(ifmatch("sessions", "list", server.dir), "");
  assert.equal(await server.text("/docs/left%20%C3%A9.txt"), "one\n");
  page.clean();
  await page.context().close();
});

test("a question about a name, and the history, say who has saved the file last, where that is known", async () => {
  const ofBob = { Authorization: `Basic ${btoa(bob.join(":"))}` };
  await server.send("PUT", "/docs/new.txt", "one\n", ofBob);
  await server.send("PUT", "/docs/who.txt", "one\n");
  await server.send("PUT", "/docs/who.txt", "two\n", ofBob);
  await server.send("PUT", "/docs/disk.txt", "one\n", ofBob);
  await server.send("PUT", "/docs/disk.txt", "two\n", ofBob);
  await server.send("PUT", "/docs/moved.txt", "one\n", ofBob);
  await server.send("MOVE", "/docs/moved.txt", null, { Destination: `${server.url}/docs/here.txt` });
  const page = await visit(server.url + "/docs/", { login: ann });
  const choose = async (name, says) => {
    await page
      .locator("input[type=file]:not([webkitdirectory])")
      .setInputFiles({ name, mimeType: "text/plain", buffer: Buffer.from("x") });
    await said(page, `${name} is there already`);
    if (says) await said(page, /^Saved last by bob, /);
    else assert.equal(await page.getByText(/Saved last/).count(), 0, name);
    if (name === "who.txt") await check(page, "taken");
    await press(page, "Skip");
  };
  await choose("who.txt", true);
  await choose("new.txt", true); // it was never replaced
  await choose("here.txt", false);
  if (!cluster) { // whose files no program writes
    await server.write("/docs/disk.txt", "a program");
    await until("the page shows the file of the program", () => row(page, "disk.txt").getByText("9 B").count());
    await choose("disk.txt", false);
  }
  await act(page, "new.txt", "History");
  await said(page, "by bob");
  await press(page, "Close");
  page.clean();
  await page.context().close();
});

test("without scripts, on a telephone", async () => {
  const page = await visit(server.url + "/docs/", { login: ann, javaScriptEnabled: false, width: 390, height: 844 });
  await page.getByRole("link", { name: "a & b.txt" }).waitFor();
  if (shots) await page.screenshot({ path: join(shots, "login-plain.png") });
  await page.getByRole("button", { name: "Log out" }).click();
  await page.getByLabel("Password").waitFor();
  await page.context().close();
});

test("a login that ends in the middle is asked for again, and what was being done goes on", async () => {
  const page = await visit(server.url + "/docs/", { login: ann });
  await edit(page, "a & b.txt");
  await type(page, "Control+End", "two");
  assert.match(ifmatch("sessions", "end", server.dir, "ann"), /^ended: /);
  await press(page, "Save");
  await said(page, /Your login has ended/);
  await check(page, "again");
  assert.equal(await page.locator("#login-name").inputValue(), "ann");
  await page.getByLabel("Password").fill("wrong");
  await press(page, "Log in");
  await said(page, /password is wrong/);
  await page.getByLabel("Password").fill("a long secret");
  await press(page, "Log in");
  await saved(page);
  assert.equal(await server.text("/docs/a%20%26%20b.txt"), "one\ntwo");
  page.clean();
  await page.context().close();
});

test("a request that was sent before a login, and refused after it, asks for no other one", async () => {
  const page = await visit(server.url + "/docs/", { login: ann });
  await page.locator("#tools button", { hasText: "Upload files" }).waitFor(); // so no listing is refused
  ifmatch("sessions", "end", server.dir, "ann");
  const answers = await hold(page, "**/.ifmatch/history?*");
  await act(page, "a & b.txt", "History");
  const go = await answers.next();
  await press(page, "New folder");
  await page.getByLabel("Name", { exact: true }).last().fill("made");
  await press(page, "OK");
  await page.getByLabel("Password").fill("a long secret");
  await press(page, "Log in");
  await said(page, "made was made");
  await go();
  await (await answers.next())();
  await said(page, "History of a & b.txt");
  await press(page, "Close");
  await page.locator("dialog").waitFor({ state: "detached" });
  page.clean();
  await page.context().close();
});

test("a logout that is pressed twice is one", async () => {
  const page = await visit(server.url + "/docs/", { login: ann });
  const sent = [];
  page.on("request", (request) => request.url().endsWith("/logout") && sent.push(request.url()));
  await page.getByRole("button", { name: "Log out" }).evaluate((button) => (button.click(), button.click()));
  await page.getByLabel("Password").waitFor();
  assert.equal(sent.length, 1);
  page.clean();
  await page.context().close();
});

test("a login outlasts a server that was killed, and a link of another site finds it", async () => {
  const page = await visit(server.url + "/", { login: ann });
  await server.kill();
  await server.again();
  await page.reload();
  await page.locator("body.live .who", { hasText: "ann" }).waitFor();
  const elsewhere = createServer((_, response) => {
    response.setHeader("Content-Type", "text/html");
    response.end(`<a href="${server.url}/docs/">there</a>`);
  });
  await new Promise((resolve) => elsewhere.listen(0, "localhost", resolve));
  const tab = await open(page.context(), `http://localhost:${elsewhere.address().port}/`, true); // no site of 127.0.0.1
  await tab.getByRole("link").click();
  await row(tab, "a & b.txt").waitFor();
  assert.equal(tab.url(), server.url + "/docs/");
  elsewhere.closeAllConnections();
  elsewhere.close();
  page.clean();
  await page.context().close();
});
