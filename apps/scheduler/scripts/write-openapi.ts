import { readFileSync, writeFileSync } from "node:fs";
import { openApiDocument } from "../src/openapi-document.ts";

const file = new URL("../../../docs/openapi/scheduler.json", import.meta.url);
const text = `${JSON.stringify(await openApiDocument(), undefined, 2)}\n`;

const present = (): string => {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
};

if (!process.argv.includes("--check")) writeFileSync(file, text);
else if (present() !== text) {
  process.stderr.write("docs/openapi/scheduler.json is not what the routes say; run npm run docs\n");
  process.exitCode = 1;
}
