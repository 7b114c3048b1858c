// Builds ../app/editor.js and ../app/merge-worker.js, and writes down the licences of what is in them. The same packages
// yield the same bytes, which .ci/run compares.
import { build } from "esbuild";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";

const out = process.env.OUT || "../app";
const common = {
  bundle: true,
  minify: true,
  legalComments: "none",
  target: "es2022",
  metafile: true,
  charset: "utf8",
  logLevel: "warning",
};
const results = [
  await build({ ...common, entryPoints: ["src/editor.js"], outfile: `${out}/editor.js`, format: "esm" }),
  await build({ ...common, entryPoints: ["src/merge-worker.js"], outfile: `${out}/merge-worker.js`, format: "iife" }),
];

const packages = new Set();
for (const { metafile } of results) {
  for (const output of Object.values(metafile.outputs)) {
    for (const input of Object.keys(output.inputs)) {
      const name = /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(input)?.[1];
      if (name) packages.add(name);
    }
  }
}
let text = "editor.js and merge-worker.js have parts of these packages:\n";
for (const name of [...packages].sort()) {
  const { version, license } = JSON.parse(readFileSync(`node_modules/${name}/package.json`, "utf8"));
  const file = readdirSync(`node_modules/${name}`).find((f) => /^licen[cs]e/i.test(f));
  if (!file || !existsSync(`node_modules/${name}/${file}`)) throw new Error(`${name} has no licence`);
  text += `\n${"-".repeat(80)}\n${name} ${version} (${license})\n\n${readFileSync(`node_modules/${name}/${file}`, "utf8").trim()}\n`;
}
writeFileSync(`${out}/licences.txt`, text);
