// Run axe-core over every page of the built site, in light and in dark, and print what it finds.
//
//     make guide
//     cd guide/axe && npm install --no-package-lock && node check.mjs
//
// It needs Node.js 20 and a Chromium or Chrome; CHROME names its file (default /usr/bin/chromium).
// The address of another site can be given: node check.mjs FOLDER. Exit code 1 if anything is found.
// It takes two minutes, and many more on a busy machine; "Target closed" says that it was stopped from outside.

import { readFileSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import puppeteer from "puppeteer-core";

const here = fileURLToPath(new URL(".", import.meta.url));
const site = resolve(process.argv[2] ?? join(here, "..", "site", "html"));
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf-8");
const pages = readdirSync(site, { recursive: true }).filter((name) => name.endsWith(".html")).sort();

const browser = await puppeteer.launch({
  executablePath: process.env.CHROME ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--allow-file-access-from-files"],
  protocolTimeout: 0, // a long page of source code can take minutes on a busy machine
});

// Everything is checked in light; dark changes only colors, so only their contrast is checked again.
async function check(name) {
  const page = await browser.newPage(); // one for each, so that the memory of the last is free again
  await page.setViewport({ width: 1280, height: 900 });
  const found = [];
  for (const theme of ["light", "dark"]) {
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: theme }]);
    await page.goto(pathToFileURL(join(site, name)).href, { timeout: 0 });
    await page.evaluate((theme) => (document.body.dataset.theme = theme), theme);
    await page.evaluate(axe);
    const options = { resultTypes: ["violations"], ...(theme === "dark" && { runOnly: ["color-contrast"] }) };
    const { violations } = await page.evaluate((options) => axe.run(options), options);
    found.push(...violations.map((violation) => ({ ...violation, theme })));
  }
  await page.close();
  return found;
}

let findings = 0;
for (const [index, name] of pages.entries()) {
  console.error(`${index + 1} of ${pages.length}: ${name}`);
  const found = await check(name);
  for (const { id, help, nodes, theme } of found) {
    findings += nodes.length;
    console.log(`${name} (${theme}): ${id}: ${help}`);
    for (const { html } of nodes.slice(0, 3)) console.log(`    ${html.slice(0, 160)}`);
  }
}
await browser.close();
console.log(`${pages.length} pages, light and dark: ${findings} findings`);
process.exit(findings ? 1 : 0);
