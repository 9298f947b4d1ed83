import { randomUUID } from "node:crypto";
import { fleetError } from "@bulkhead/contracts";
import { Client } from "pg";
import { databaseFailure } from "./failure.ts";
import { migrationsDirectory, readMigrations, type MigrationFile } from "./migration-files.ts";

/** The advisory lock that Prisma's own `migrate` takes, so that either waits for the other. */
const prismaLock = 72_707_369;
/** Longest wait for another migration run, in milliseconds. */
const lockTimeoutMs = 60_000;

/** Prisma's table, column for column (schema-engine's sql-migration-persistence). */
const createTable = `CREATE TABLE IF NOT EXISTS "_prisma_migrations" (
  "id" VARCHAR(36) PRIMARY KEY NOT NULL,
  "checksum" VARCHAR(64) NOT NULL,
  "finished_at" TIMESTAMPTZ,
  "migration_name" VARCHAR(255) NOT NULL,
  "logs" TEXT,
  "rolled_back_at" TIMESTAMPTZ,
  "started_at" TIMESTAMPTZ NOT NULL DEFAULT now(),
  "applied_steps_count" INTEGER NOT NULL DEFAULT 0
)`;

interface AppliedRow {
  readonly migration_name: string;
  readonly checksum: string;
  readonly finished: boolean;
}

const refuse = (what: string, remedy: string) => fleetError("SETUP_FAILED", `${what} ${remedy} Nothing was changed.`);

const appliedRows = async (client: Client): Promise<AppliedRow[] | undefined> => {
  const { rows } = await client.query<{ ours: string | null; others: string }>(
    `SELECT to_regclass('_prisma_migrations')::text AS ours,
            (SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'S')
              AND relnamespace = current_schema()::regnamespace) AS others`,
  );
  const [state] = rows;
  if (state === undefined || state.ours === null) {
    if (Number(state?.others ?? 0) > 0) {
      throw refuse("This database holds tables that are not Bulkhead's.", "Give Bulkhead a database of its own.");
    }
    return undefined;
  }
  const applied = await client.query<AppliedRow>(
    `SELECT migration_name, checksum, finished_at IS NOT NULL AS finished
       FROM "_prisma_migrations" WHERE rolled_back_at IS NULL ORDER BY started_at, migration_name`,
  );
  return applied.rows;
};

const check = (applied: readonly AppliedRow[], files: readonly MigrationFile[]): void => {
  const byName = new Map(files.map((file) => [file.name, file]));
  const first = applied[0];
  if (first !== undefined && applied.every((row) => !byName.has(row.migration_name))) {
    throw refuse(
      `This database belongs to another program (its first migration is ${first.migration_name}).`,
      "Give Bulkhead a database of its own.",
    );
  }
  for (const row of applied) {
    const file = byName.get(row.migration_name);
    if (file === undefined) {
      throw refuse(
        `This database is newer than this program: it has migration ${row.migration_name}.`,
        "Use the version of Bulkhead that made it, or a later one.",
      );
    }
    if (!row.finished) {
      throw refuse(
        `Migration ${row.migration_name} was begun by another tool and did not finish.`,
        "Repair the database, then mark it with `prisma migrate resolve`.",
      );
    }
    if (file.checksum !== row.checksum) {
      throw refuse(
        `Migration ${row.migration_name} was changed after it was applied (checksum ${row.checksum} in the database, ${file.checksum} here).`,
        "Restore the file; changes belong into a new migration.",
      );
    }
  }
};

const apply = async (client: Client, file: MigrationFile): Promise<void> => {
  await client.query("BEGIN");
  try {
    await client.query(file.sql);
    await client.query(
      `INSERT INTO "_prisma_migrations" (id, checksum, migration_name, started_at, finished_at, applied_steps_count)
       VALUES ($1, $2, $3, now(), clock_timestamp(), 1)`,
      [randomUUID(), file.checksum, file.name],
    );
    await client.query("COMMIT");
  } catch (error) {
    await client.query("ROLLBACK").catch(() => undefined);
    throw fleetError("SETUP_FAILED", `Migration ${file.name} failed and was rolled back: ${String(error)}.`, {
      cause: error,
    });
  }
};

/**
 * Brings the database to this program's schema and answers with the names of the migrations it applied. One
 * transaction per migration; concurrent runs (also Prisma's) wait for each other. Rejects SETUP_FAILED, with nothing
 * changed, for a database of another program, one that is newer, or one whose applied files were edited, and
 * DATABASE_UNAVAILABLE.
 */
export const migrate = async (databaseUrl: string, directory = migrationsDirectory): Promise<string[]> => {
  const files = await readMigrations(directory);
  const client = new Client({ connectionString: databaseUrl, application_name: "bulkhead-migrate" });
  // A lost connection fails the running query; the event only must not end the process.
  client.on("error", () => undefined);
  try {
    await client.connect();
    await client.query(`SET lock_timeout = ${lockTimeoutMs}`);
    await client.query("SELECT pg_advisory_lock($1)", [prismaLock]);
    const applied = (await appliedRows(client)) ?? [];
    check(applied, files);
    const done = new Set(applied.map((row) => row.migration_name));
    const pending = files.filter((file) => !done.has(file.name));
    if (pending.length > 0) await client.query(createTable);
    for (const file of pending) await apply(client, file);
    return pending.map((file) => file.name);
  } catch (error) {
    throw databaseFailure(error);
  } finally {
    await client.end().catch(() => undefined);
  }
};
