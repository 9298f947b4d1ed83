/** Writes docs/cli.md from the command table; with --check compares instead and exits with 1 when they differ. */
import { readFileSync, writeFileSync } from "node:fs";
import { commandDocs } from "../src/docs.ts";

const file = new URL("../../../docs/cli.md", import.meta.url);
const wanted = commandDocs();

const present = (): string => {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
};

if (process.argv.includes("--check")) {
  if (present() !== wanted) {
    process.stderr.write("docs/cli.md is not what the command table says; run `npm run docs` and commit it.\n");
    process.exitCode = 1;
  }
} else {
  writeFileSync(file, wanted);
}
