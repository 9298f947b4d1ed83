import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

/** Prisma's own layout: `<timestamp>_<name>/migration.sql` and `migration_lock.toml`. */
export const migrationsDirectory = join(import.meta.dirname, "../prisma/migrations");

export interface MigrationFile {
  readonly name: string;
  readonly sql: string;
  /** SHA-256 of the file in hexadecimal, as Prisma stores it */
  readonly checksum: string;
}

/** Every migration of a directory in the order of their names, which begin with their time. */
export const readMigrations = async (directory = migrationsDirectory): Promise<MigrationFile[]> => {
  const entries = await readdir(directory, { withFileTypes: true });
  const names = entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
  return Promise.all(
    names.sort().map(async (name) => {
      const bytes = await readFile(join(directory, name, "migration.sql"));
      return { name, sql: bytes.toString("utf8"), checksum: createHash("sha256").update(bytes).digest("hex") };
    }),
  );
};
