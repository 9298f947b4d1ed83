import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { mkdtempDisposable } from "node:fs/promises";
import { tmpdir } from "node:os";
import { startPostgres, type TestPostgres } from "@bulkhead/testkit/servers";
import { Client } from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { migrate } from "./migrate.ts";
import { migrationsDirectory, readMigrations } from "./migration-files.ts";
import { deployWithPrisma, diagnoseHistory, schemaDiff } from "./schema-engine.ts";

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startPostgres();
});
afterAll(() => postgres[Symbol.asyncDispose]());

const run = async (databaseUrl: string, sql: string): Promise<Record<string, unknown>[]> => {
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    return (await client.query(sql)).rows as Record<string, unknown>[];
  } finally {
    await client.end();
  }
};

const names = async (): Promise<string[]> => (await readMigrations()).map((file) => file.name);

/** The migrations in a directory of their own, to be changed. */
const copied = async () => {
  const directory = await mkdtempDisposable(join(tmpdir(), "bulkhead-test-migrations-"));
  await cp(migrationsDirectory, directory.path, { recursive: true });
  return directory;
};

describe("schema and migrations agree, by the judgement of Prisma's own engine", () => {
  test("the migrated database is what the schema says", async () => {
    const url = await postgres.database();
    await migrate(url);
    expect(await schemaDiff(url)).toBe("");
  });

  test.each([
    ["a column more", `ALTER TABLE host ADD COLUMN extra text`, /DROP COLUMN "extra"/],
    ["a column less", `ALTER TABLE host DROP COLUMN cordoned`, /ADD COLUMN\s+"cordoned"/],
    ["another type", `ALTER TABLE host ALTER COLUMN version TYPE bigint`, /ALTER TABLE "host"/],
    ["a nullable column", `ALTER TABLE host ALTER COLUMN version DROP NOT NULL`, /SET NOT NULL/],
    ["an index less", `DROP INDEX instance_state_idx`, /CREATE INDEX "instance_state_idx"/],
    ["a table more", `CREATE TABLE extra (id int PRIMARY KEY)`, /DROP TABLE "extra"/],
  ])("drift is seen: %s", async (_name, change, script) => {
    const url = await postgres.database();
    await migrate(url);
    await run(url, change);
    expect(await schemaDiff(url)).toMatch(script);
  });

  test("drift is seen: a model that no migration makes", async () => {
    const url = await postgres.database();
    await migrate(url);
    const schema = await readFile(join(import.meta.dirname, "../prisma/schema.prisma"), "utf8");
    expect(await schemaDiff(url, `${schema}\nmodel Extra {\n  id Int @id\n}\n`)).toMatch(/CREATE TABLE "Extra"/);
  });
});

describe("the runner and `prisma migrate` are interchangeable", () => {
  test("Prisma finds nothing to do after the runner", async () => {
    const url = await postgres.database();
    expect(await migrate(url)).toEqual(await names());
    expect(await diagnoseHistory(url)).toEqual({
      editedMigrationNames: [],
      failedMigrationNames: [],
      hasMigrationsTable: true,
      history: null,
    });
    expect(await deployWithPrisma(url)).toEqual([]);
  });

  test("the runner finds nothing to do after Prisma, and both make the same", async () => {
    const [ours, theirs] = [await postgres.database(), await postgres.database()];
    await migrate(ours);
    expect(await deployWithPrisma(theirs)).toEqual(await names());
    expect(await migrate(theirs)).toEqual([]);
    const facts = `
      SELECT table_name, column_name, data_type, is_nullable, column_default, character_maximum_length
      FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2`;
    expect(await run(theirs, facts)).toEqual(await run(ours, facts));
    const indexes = `SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1`;
    expect(await run(theirs, indexes)).toEqual(await run(ours, indexes));
    const checks = `SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'c' ORDER BY 1`;
    expect(await run(theirs, checks)).toEqual(await run(ours, checks));
  });
});

describe("what the runner refuses, with nothing changed", () => {
  test("a file that was changed after it was applied", async () => {
    const url = await postgres.database();
    await migrate(url);
    await using directory = await copied();
    const [first] = await names();
    const path = join(directory.path, first ?? "", "migration.sql");
    await writeFile(path, `${await readFile(path, "utf8")}\n-- edited`);
    await expect(migrate(url, directory.path)).rejects.toMatchObject({
      code: "SETUP_FAILED",
      message: expect.stringContaining("was changed after it was applied") as string,
    });
  });

  test("a database that is newer", async () => {
    const url = await postgres.database();
    await migrate(url);
    await run(
      url,
      `INSERT INTO _prisma_migrations (id, checksum, migration_name, finished_at) VALUES ('x', 'y', '29991231000000_later', now())`,
    );
    await expect(migrate(url)).rejects.toMatchObject({
      code: "SETUP_FAILED",
      message: expect.stringContaining("newer than this program") as string,
    });
  });

  test("a database with tables of another program, which stay", async () => {
    const url = await postgres.database();
    await run(url, `CREATE TABLE theirs (id int)`);
    await expect(migrate(url)).rejects.toMatchObject({ code: "SETUP_FAILED" });
    expect(
      await run(url, `SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace`),
    ).toEqual([{ relname: "theirs" }]);
  });

  test("a database migrated by another Prisma program", async () => {
    const url = await postgres.database();
    await migrate(url);
    await run(url, `UPDATE _prisma_migrations SET migration_name = '20200101000000_theirs'`);
    await expect(migrate(url)).rejects.toMatchObject({
      code: "SETUP_FAILED",
      message: expect.stringContaining("belongs to another program") as string,
    });
  });

  test("a migration that another tool began and did not finish", async () => {
    const url = await postgres.database();
    await migrate(url);
    await run(url, `UPDATE _prisma_migrations SET finished_at = NULL`);
    await expect(migrate(url)).rejects.toMatchObject({
      code: "SETUP_FAILED",
      message: expect.stringContaining("did not finish") as string,
    });
  });

  test("a migration that fails is rolled back whole, and the next start tries it again", async () => {
    const url = await postgres.database();
    await using directory = await copied();
    const broken = join(directory.path, "29990101000000_broken");
    await mkdir(broken);
    await writeFile(join(broken, "migration.sql"), "CREATE TABLE half (id int); SELECT 1 / 0;");
    await expect(migrate(url, directory.path)).rejects.toMatchObject({
      code: "SETUP_FAILED",
      message: expect.stringContaining("29990101000000_broken failed and was rolled back") as string,
    });
    expect(await run(url, `SELECT to_regclass('half') AS half`)).toEqual([{ half: null }]);
    await writeFile(join(broken, "migration.sql"), "CREATE TABLE half (id int);");
    expect(await migrate(url, directory.path)).toEqual(["29990101000000_broken"]);
  });

  test("no server", async () => {
    await expect(migrate("postgresql://nobody@localhost/x?host=/nonexistent")).rejects.toMatchObject({
      code: "DATABASE_UNAVAILABLE",
    });
  });
});

test("eight runners at once apply each migration once", async () => {
  const url = await postgres.database();
  const applied = await Promise.all(Array.from({ length: 8 }, () => migrate(url)));
  expect(applied.flat()).toEqual(await names());
});
