// The same site served by ifmatch, by nginx, and by ifmatch behind nginx as a cache: what each feature of a browser
// does, and how many requests, bytes and milliseconds a visit takes. A feature that works with nginx must
// work with ifmatch.
import assert from "node:assert/strict";
import { font } from "./font.mjs";
import { ifmatch, lay, main, nginx, host, patience, temporary, visitor } from "./lib.mjs";

/** Ten minutes of silence: a browser that plays it from the middle asks for a part. */
function film() {
  const size = 600 * 8000, head = Buffer.alloc(44);
  head.write("RIFF"); head.writeUInt32LE(36 + size, 4); head.write("WAVEfmt ", 8); head.writeUInt32LE(16, 16);
  head.writeUInt16LE(1, 20); head.writeUInt16LE(1, 22); head.writeUInt32LE(8000, 24); head.writeUInt32LE(8000, 28);
  head.writeUInt16LE(1, 32); head.writeUInt16LE(8, 34); head.write("data", 36); head.writeUInt32LE(size, 40);
  return Buffer.concat([head, Buffer.alloc(size, 128)]);
}

const words = Array.from({ length: 4000 }, (_, i) => `const word${i} = "${i * 7919}";`).join("\n");
const page = (title, more = "") => `<!doctype html><meta charset="utf-8"><title>${title}</title>
<link rel="icon" href="data:,"><link rel="stylesheet" href="/assets/style.1a2b3c4d.css"><h1>${title}</h1>${more}`;
const site = {
  "index.html": page("home", `<p id="font">AAAA</p><script type="module" src="/assets/app.5e6f7a8b.js"></script>`),
  "about.html": page("about"),
  "docs/index.html": page("docs"),
  "404.html": page("lost"),
  "assets/style.1a2b3c4d.css": `@font-face { font-family: Tiny; src: url(/assets/tiny.9c0d1e2f.ttf) }
#font { font: 20px Tiny; display: inline-block } h1 { color: rgb(1, 2, 3) }\n${"/* style */\n".repeat(1000)}`,
  "assets/tiny.9c0d1e2f.ttf": font(),
  "assets/app.5e6f7a8b.js": `import { answer } from "./lib.3a4b5c6d.js";
const later = await import("./later.7e8f9a0b.js");
document.documentElement.dataset.module = answer + later.more;
document.documentElement.dataset.data = (await (await fetch("/data.json")).json()).length;\n${words}`,
  "assets/lib.3a4b5c6d.js": `export const answer = 40;\n${words}`,
  "assets/later.7e8f9a0b.js": "export const more = 2;",
  "data.json": JSON.stringify(Array.from({ length: 2000 }, (_, i) => ({ id: i, name: `name ${i}` }))),
  "sw.js": `self.addEventListener("install", (e) => { self.skipWaiting();
  e.waitUntil(caches.open("v1").then((c) => c.addAll(["/about", "/assets/style.1a2b3c4d.css"]))); });
self.addEventListener("activate", (e) => e.waitUntil(clients.claim()));
self.addEventListener("fetch", (e) => e.respondWith(caches.match(e.request).then((r) => r ?? fetch(e.request))));`,
  "film.wav": film(),
};

/** Counts the requests of a page and the bytes of their answers, as they came over the network. */
async function counter(page) {
  const devtools = await page.context().newCDPSession(page);
  await devtools.send("Network.enable");
  let count = { requests: 0, bytes: 0 };
  const cached = new Set();
  devtools.on("Network.requestServedFromCache", ({ requestId }) => cached.add(requestId));
  devtools.on("Network.loadingFinished", ({ requestId, encodedDataLength }) => {
    if (cached.has(requestId) || encodedDataLength === 0) return;
    count.requests++;
    count.bytes += encodedDataLength;
  });
  return () => { const was = count; count = { requests: 0, bytes: 0 }; return was; };
}

const ready = (page) => page.waitForFunction(() => document.documentElement.dataset.data !== undefined &&
  document.fonts.status === "loaded");

async function timed(what) {
  const began = performance.now();
  await what();
  return performance.now() - began;
}

/** Takes a visit, and returns what it has found. */
async function visit(url) {
  const found = {}, page = await visitor(), counted = await counter(page);
  const rounds = [];
  const cold = await timed(async () => { await page.goto(url); await ready(page); });
  const first = counted();
  found["first visit: requests"] = first.requests;
  found["first visit: KiB"] = Math.round(first.bytes / 1024);
  found["first visit: ms"] = Math.round(cold);
  for (let i = 0; i < 5; i++) rounds.push(await timed(async () => { await page.goto(url); await ready(page); }));
  const again = counted();
  found["another visit: requests"] = again.requests / 5;
  found["another visit: KiB"] = Math.round(again.bytes / 5 / 102.4) / 10;
  found["another visit: ms"] = Math.round(rounds.sort((a, b) => a - b)[2]);
  const seen = await page.evaluate(() => ({
    module: document.documentElement.dataset.module, data: document.documentElement.dataset.data,
    color: getComputedStyle(document.querySelector("h1")).color, width: document.querySelector("#font").offsetWidth,
  }));
  found["modules, import()"] = seen.module === "42" ? "yes" : "no";
  found["fetch of JSON"] = seen.data === "2000" ? "yes" : "no";
  found["style"] = seen.color === "rgb(1, 2, 3)" ? "yes" : "no";
  found["font"] = seen.width === 160 ? "yes" : `no: ${seen.width}`;
  for (const [what, path, title] of [["/about is about.html", "about", "about"],
    ["/docs is docs/index.html", "docs", "docs"], ["a path that leads nowhere", "nowhere", "lost"]]) {
    const answer = await page.goto(url + path);
    const elsewhere = answer.url() === url + path ? "" : `, at ${new URL(answer.url()).pathname}`;
    found[what] = `${answer.status()} ${await page.title()}${elsewhere}`;
    assert.equal(await page.title(), title, what);
  }
  await page.goto(url);
  const parts = [];
  page.on("response", (r) => { if (r.url().endsWith("film.wav")) parts.push(r.status()); });
  found["a film, from the middle on"] = await page.evaluate(() => new Promise((resolve) => {
    const video = document.createElement("video");
    video.preload = "auto";
    video.onerror = () => resolve(`no: ${video.error.message}`);
    video.onloadedmetadata = () => { video.currentTime = 500; };
    video.onseeked = () => resolve(`${Math.round(video.duration)} s, at ${Math.round(video.currentTime)}`);
    video.src = "/film.wav";
    document.body.append(video);
  }));
  found["… by parts (206)"] = parts.includes(206) ? "yes" : `no: ${parts}`;
  await page.goto(url);
  await page.evaluate(async () => {
    await navigator.serviceWorker.register("/sw.js");
    await navigator.serviceWorker.ready;
  });
  await page.waitForFunction(() => navigator.serviceWorker.controller !== null);
  await page.context().setOffline(true);
  await page.goto(url + "about");
  found["service worker, without a network"] = (await page.title()) === "about" ? "yes" : "no";
  await page.context().close();
  return found;
}

main(async () => {
  const dir = await temporary();
  await lay(`${dir}/www`, site);
  const ours = await ifmatch(dir, "--read-only");
  const usual = await nginx(`
    root ${dir}/www; gzip on; gzip_vary on; gzip_types text/css text/javascript application/javascript application/json;
    error_page 404 /404.html;
    location / { try_files $uri $uri.html $uri/index.html =404; add_header Cache-Control no-cache; }
    location /assets/ { add_header Cache-Control "public, max-age=31536000, immutable"; }`);
  const cache = await nginx(`
    location / { proxy_pass http://127.0.0.1:${ours}; }
    location /assets/ { proxy_pass http://127.0.0.1:${ours}; proxy_cache site; proxy_cache_lock on; }`, `
    proxy_cache_path DIR/cache keys_zone=site:10m; proxy_http_version 1.1; proxy_set_header Host $http_host;`);
  const servers = { ifmatch: ours, nginx: usual, "ifmatch behind an nginx cache": cache }, all = {};
  for (const [name, port] of Object.entries(servers)) await visit(`http://${host}:${port}/`); // all are warm now
  for (const [name, port] of Object.entries(servers)) all[name] = await visit(`http://${host}:${port}/`);
  console.log(`| | ${Object.keys(all).join(" | ")} |\n|---|${"---|".repeat(Object.keys(all).length)}`);
  for (const what of Object.keys(all.nginx)) {
    console.log(`| ${what} | ${Object.values(all).map((found) => found[what]).join(" | ")} |`);
  }
  for (const name of ["ifmatch", "ifmatch behind an nginx cache"]) {
    for (const what of ["modules, import()", "fetch of JSON", "style", "font", "… by parts (206)",
      "service worker, without a network"]) {
      assert.equal(all[name][what], "yes", `${name}: ${what}`);
    }
    assert.match(all[name]["a path that leads nowhere"], /^404 /);
    assert.equal(all[name]["a film, from the middle on"], all.nginx["a film, from the middle on"]);
    for (const visit of ["first visit: requests", "another visit: requests"]) {
      assert.ok(all[name][visit] <= all.nginx[visit], `${name}: ${visit}`);
    }
    assert.ok(all[name]["first visit: KiB"] <= all.nginx["first visit: KiB"] * 1.1, name);
  }
});
