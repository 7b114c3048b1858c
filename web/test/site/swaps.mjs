// A publisher swaps a site every second for a minute (SWAPS times), while browsers walk it. Each page is of one build,
// and has all of its files: also those that it asks for when the next build is there already.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { rename, symlink } from "node:fs/promises";
import { ifmatch, lay, main, nginx, host, temporary, visitor } from "./lib.mjs";

const swaps = Number(process.env.SWAPS ?? 60), pages = ["index.html", "one.html", "two/index.html"];

/** Returns the files of a build. A page says which build it is, and so does each of its files. */
function build(n) {
  const id = createHash("sha256").update(String(n)).digest("hex").slice(0, 20), files = {};
  for (const name of pages) {
    files[name] = `<!doctype html><meta charset="utf-8"><title>${n}</title><link rel="icon" href="data:,">
<link rel="stylesheet" href="/assets/style.${id}.css">
<script type="module" src="/assets/app.${id}.js"></script><p>${"text ".repeat(500)}`;
  }
  files[`assets/style.${id}.css`] = `:root { --build: ${n} }`;
  files[`assets/app.${id}.js`] = `import { build } from "./lib.${id}.js";
const late = new Promise((resolve) => setTimeout(resolve, 1500)).then(() => import("./late.${id}.js"));
document.documentElement.dataset.app = build;
late.then((m) => m.build, () => "missing").then((build) => { document.documentElement.dataset.late = build; });`;
  files[`assets/lib.${id}.js`] = `export const build = ${n};`;
  files[`assets/late.${id}.js`] = `export const build = ${n};`;
  return files;
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function send(url, method, path, options = {}) {
  const answer = await fetch(url + path, { method, ...options });
  const text = await answer.text();
  assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${text}`);
  return text;
}

/** Publishes a build by WebDAV, as docs/publish.md has it. */
async function publish(url, n) {
  const seen = /<D:sync-token>([^<]*)/.exec(await send(url, "PROPFIND", "/www/", { headers: { Depth: "0" },
    body: '<propfind xmlns="DAV:"><prop><sync-token/></prop></propfind>' }))[1];
  for (const dir of ["/next/", "/next/assets/", "/next/two/"]) await send(url, "MKCOL", dir);
  for (const [name, content] of Object.entries(build(n))) await send(url, "PUT", `/next/${name}`, { body: content });
  await send(url, "MOVE", "/next/", { headers: { Destination: `${url}/www/`, If: `<${url}/www/> (<${seen}>)` } });
}

/** Walks a site until `ended` is called, and returns what it has seen. */
async function walk(url, found, ended) {
  const page = await visitor();
  page.on("response", (r) => {
    if (r.status() < 400) return;
    found.missing++;
    found.which ??= `${r.status()} ${r.url()}`;
  });
  page.on("requestfailed", (r) => {
    found.failed++;
    found.which ??= `${r.failure()?.errorText} ${r.url()}`;
  });
  for (let i = 0; !ended(); i++) {
    await page.goto(url + pages[i % pages.length].replace(/index\.html$/, ""));
    const late = page.waitForFunction(() => document.documentElement.dataset.late !== undefined);
    await late.catch(() => { found.stuck++; });
    const seen = await page.evaluate(() => {
      const { documentElement: root, title } = document;
      return [title, root.dataset.app, root.dataset.late, getComputedStyle(root).getPropertyValue("--build").trim()];
    });
    found.pages++;
    found.builds.add(seen[0]);
    if (new Set(seen.filter((n) => n !== "missing")).size > 1) { found.mixed++; found.how ??= seen.join(", "); }
  }
  await page.context().close();
}

async function trial(url, swap) {
  const found = { pages: 0, builds: new Set(), mixed: 0, missing: 0, failed: 0, stuck: 0 };
  let done = false;
  const walks = [1, 2, 3].map(() => walk(url, found, () => done));
  const began = performance.now();
  for (let n = 1; n <= swaps; n++) {
    await swap(n);
    await sleep(began + n * 1000 - performance.now());
  }
  done = true;
  await Promise.all(walks);
  found.seconds = Math.round((performance.now() - began) / 1000);
  found.builds = found.builds.size;
  return found;
}

main(async () => {
  const dir = await temporary(), all = {};
  await lay(`${dir}/www`, build(0));
  const port = await ifmatch(dir, "--publish-grace", "1m");
  all.ifmatch = await trial(`http://${host}:${port}/`, (n) => publish(`http://127.0.0.1:${port}`, n));

  // The usual way with nginx: a link to the build, which is replaced.
  const usual = await temporary();
  await lay(`${usual}/0`, build(0));
  await symlink("0", `${usual}/current`);
  const other = await nginx(`root ${usual}/current; location / { add_header Cache-Control no-cache; }
    location /assets/ { add_header Cache-Control "public, max-age=31536000, immutable"; }`);
  all["nginx, and a link that is replaced"] = await trial(`http://${host}:${other}/`, async (n) => {
    await lay(`${usual}/${n}`, build(n));
    await symlink(String(n), `${usual}/link`);
    await rename(`${usual}/link`, `${usual}/current`);
  });
  console.log(`| | ${Object.keys(all).join(" | ")} |\n|---|${"---|".repeat(Object.keys(all).length)}`);
  for (const [what, key] of [["seconds", "seconds"], ["pages that were walked", "pages"],
    ["builds that were seen", "builds"], ["pages of two builds", "mixed"], ["files that were missing", "missing"],
    ["requests that failed", "failed"]]) {
    console.log(`| ${what} | ${Object.values(all).map((found) => found[key]).join(" | ")} |`);
  }
  const { mixed, missing, failed, stuck, how, which } = all.ifmatch;
  assert.deepEqual({ mixed, missing, failed, stuck, how, which },
    { mixed: 0, missing: 0, failed: 0, stuck: 0, how: undefined, which: undefined });
  assert.ok(all.ifmatch.pages > 0 && all.ifmatch.builds > 1);
});
