import { readFileSync, writeFileSync } from "node:fs";
import { pages } from "./pages.ts";

const docs = new URL("../../../docs/", import.meta.url);
const check = process.argv.includes("--check");

const present = (file: URL): string => {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
};

const stale = pages().filter(({ file, text }) => present(new URL(file, docs)) !== text);
if (check) {
  for (const { file } of stale) process.stderr.write(`docs/${file} is not what the contracts say; run npm run docs\n`);
  process.exitCode = stale.length === 0 ? 0 : 1;
} else {
  for (const { file, text } of stale) writeFileSync(new URL(file, docs), text);
}
