// What the comparisons of sites have in common. They are run by plain node: IFMATCH is the program, CHROMIUM the
// browser.
import { chromium } from "playwright-core";
import { spawn } from "node:child_process";
import { createServer } from "node:net";
import { mkdtemp, mkdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

/** How long something that must come is waited for, in milliseconds. */
export const patience = 60_000;

/** The host of the site: Chromium finds it by itself, and runs service workers there. */
export const host = "www.localhost";

const ends = [];


/** Runs what follows, and ends all that it has started. */
export async function main(run) {
  const timer = setTimeout(() => { console.error("it has hung"); process.exit(1); }, 600_000);
  let status = 0;
  try {
    await run();
  } catch (error) {
    console.error(error);
    status = 1;
  }
  for (const end of ends.reverse()) await end().catch(() => {});
  clearTimeout(timer);
  process.exit(status);
}

export async function temporary() {
  const dir = await mkdtemp(join(tmpdir(), "ifmatch-site-"));
  ends.push(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

/** Writes files below a directory. */
export async function lay(dir, files) {
  for (const [name, content] of Object.entries(files)) {
    await mkdir(dirname(join(dir, name)), { recursive: true });
    await writeFile(join(dir, name), content);
  }
}

function start(command, args, ready) {
  const child = spawn(command, args, { stdio: ["ignore", "ignore", "pipe"] });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  ends.push(async () => { child.kill("SIGTERM"); await ended; });
  let log = "";
  return new Promise((resolve, reject) => {
    child.stderr.on("data", (data) => {
      log += data;
      const found = ready?.exec(log);
      if (found) resolve(found);
    });
    child.once("error", reject);
    child.once("exit", () => reject(new Error(`${command} has ended:\n${log}`)));
    if (!ready) resolve(null);
  });
}

/** Serves a directory by ifmatch, whose folder www is the site, and returns the port. */
export async function ifmatch(dir, ...flags) {
  const args = ["serve", "--addr", "127.0.0.1:0", "--site", `${host}=/www`, ...flags, dir];
  return (await start(process.env.IFMATCH, args, /at http:\/\/[^\n]*?:(\d+)\/?\n/))[1];
}

async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Runs nginx with what belongs into its server block, and into its http block, and returns the port. */
export async function nginx(inServer, inHttp = "") {
  const dir = await temporary(), port = await freePort();
  await lay(dir, { "nginx.conf": `
    daemon off; pid ${dir}/pid; error_log stderr warn; user root;
    events {}
    http {
      include /etc/nginx/mime.types; default_type application/octet-stream; access_log off; sendfile on;
      client_body_temp_path ${dir}/body; proxy_temp_path ${dir}/proxy; fastcgi_temp_path ${dir}/f;
      uwsgi_temp_path ${dir}/u; scgi_temp_path ${dir}/s;
      ${inHttp.replaceAll("DIR", dir)}
      server { listen 127.0.0.1:${port}; server_name ${host}; ${inServer} }
    }` });
  await start("nginx", ["-c", join(dir, "nginx.conf"), "-p", dir]);
  for (const end = Date.now() + patience; ; await new Promise((resolve) => setTimeout(resolve, 20))) {
    try {
      await fetch(`http://127.0.0.1:${port}/`);
      return port;
    } catch (error) {
      if (Date.now() > end) throw error;
    }
  }
}

let browser = null;

/** Opens a page in a profile of its own. */
export async function visitor() {
  browser ??= await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required"],
  });
  if (ends.at(-1) !== closeBrowser) ends.push(closeBrowser);
  const context = await browser.newContext();
  const page = await context.newPage();
  page.setDefaultTimeout(patience);
  return page;
}

const closeBrowser = () => browser.close();
