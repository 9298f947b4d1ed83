import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";

/** Folders that are results, never inputs; so are logs. */
const results = new Set(["node_modules", "build", "generated", ".turbo"]);

/** Every file below `directory`, sorted, without results; empty when there is no such directory. */
export const sourceFiles = (directory) => {
  if (!existsSync(directory)) return [];
  return readdirSync(directory, { withFileTypes: true })
    .flatMap((entry) => {
      const path = join(directory, entry.name);
      if (entry.isDirectory()) return results.has(entry.name) ? [] : sourceFiles(path);
      return entry.isFile() && !entry.name.endsWith(".log") ? [path] : [];
    })
    .sort((a, b) => (a < b ? -1 : 1));
};

/** Hash of the names and contents of files. */
export const hashFiles = (base, files) => {
  const hash = createHash("sha256");
  for (const file of files) {
    const content = existsSync(file) ? readFileSync(file) : Buffer.from("absent");
    hash.update(`${relative(base, file)}\0${content.byteLength}\0`).update(content);
  }
  return hash.digest("hex");
};

/** What was written last; empty when never, or unreadable (then everything is done again, which is always right). */
export const readStamp = (file) => {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch {
    return {};
  }
};

export const writeStamp = (file, stamp) => {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `${JSON.stringify(stamp, null, 2)}\n`);
};
