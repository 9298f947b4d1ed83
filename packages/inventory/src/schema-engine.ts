import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { PrismaPg } from "@prisma/adapter-pg";
import { bindMigrationAwareSqlAdapterFactory, ColumnTypeEnum } from "@prisma/driver-adapter-utils";
import type * as Engine from "@prisma/schema-engine-wasm";
import type { DiagnoseMigrationHistoryOutput, MigrationList, SchemaEngine } from "@prisma/schema-engine-wasm";
import { Pool, types, type QueryResult } from "pg";
import { migrationsDirectory, readMigrations } from "./migration-files.ts";

// Prisma's own schema engine as WebAssembly over the driver adapter: for tests and for writing migrations, not for services.

type EngineModule = typeof Engine & { __wbg_set_wasm(exports: unknown): void };

/** Node's global, which no library of this project's compiler options declares. */
declare const WebAssembly: {
  instantiate(bytes: Uint8Array, imports: object): Promise<{ instance: { exports: object } }>;
};

const schemaPath = join(import.meta.dirname, "../prisma/schema.prisma");
const noFilters = { externalTables: [], externalEnums: [] };

let engine: Promise<EngineModule> | undefined;

/** The engine's JavaScript half keeps the instance's memory in module variables: one instance per process. */
const loadEngine = async (): Promise<EngineModule> => {
  const glue = createRequire(import.meta.url).resolve("@prisma/schema-engine-wasm/schema_engine_bg");
  const module = (await import(pathToFileURL(glue).href)) as EngineModule;
  const bytes = await readFile(join(glue, "../schema_engine_bg.wasm"));
  const { instance } = await WebAssembly.instantiate(bytes, { "./schema_engine_bg.js": { ...module } });
  module.__wbg_set_wasm(instance.exports);
  (instance.exports as { __wbindgen_start(): void }).__wbindgen_start();
  return module;
};

/**
 * The driver adapter, taught the type `"char"`, in which the catalogue keeps its one-letter codes (pg_constraint.contype
 * and others) and which the adapter refuses. The engine sends one query at a time.
 */
const catalogAdapter = (pool: Pool): PrismaPg => {
  let letterColumns: number[] = [];
  const query = pool.query.bind(pool) as (...query: unknown[]) => Promise<QueryResult>;
  const queryAsText = async (...parameters: unknown[]): Promise<QueryResult> => {
    const result = await query(...parameters);
    letterColumns = [...result.fields.keys()].filter((at) => result.fields[at]?.dataTypeID === types.builtins.CHAR);
    for (const at of letterColumns) Object.assign(result.fields[at] ?? {}, { dataTypeID: types.builtins.TEXT });
    return result;
  };
  const factory = new PrismaPg(Object.assign(pool, { query: queryAsText }));
  const connect = factory.connect.bind(factory);
  factory.connect = async () => {
    const adapter = await connect();
    const queryRaw = adapter.queryRaw.bind(adapter);
    adapter.queryRaw = async (wanted) => {
      const result = await queryRaw(wanted);
      for (const at of letterColumns) result.columnTypes[at] = ColumnTypeEnum.Character;
      return result;
    };
    return adapter;
  };
  return factory;
};

const withEngine = async <T>(
  databaseUrl: string,
  schema: string,
  work: (engine: SchemaEngine) => Promise<T>,
): Promise<T> => {
  const { SchemaEngine: Engine } = await (engine ??= loadEngine());
  const pool = new Pool({ connectionString: databaseUrl, max: 2 });
  try {
    const adapter = bindMigrationAwareSqlAdapterFactory(catalogAdapter(pool));
    return await work(await Engine.new({ datamodels: [[schemaPath, schema]] }, () => undefined, adapter));
  } finally {
    await pool.end();
  }
};

/**
 * SQL that would bring the database to the Prisma schema; empty when they agree. What the schema language cannot
 * express (partial indexes, checks, storage parameters) is outside the comparison.
 */
export const schemaDiff = async (databaseUrl: string, schema?: string): Promise<string> => {
  const content = schema ?? (await readFile(schemaPath, "utf8"));
  const files = [{ path: schemaPath, content }];
  const { stdout } = await withEngine(databaseUrl, content, (engine) =>
    engine.diff({
      from: { tag: "schemaDatasource", files, configDir: join(schemaPath, "..") },
      to: { tag: "schemaDatamodel", files },
      script: true,
      exitCode: true,
      filters: noFilters,
    }),
  );
  const script = (stdout ?? "").trim();
  return script === "-- This is an empty migration." ? "" : script;
};

const withMigrations = async <T>(
  databaseUrl: string,
  work: (engine: SchemaEngine, migrationsList: MigrationList) => Promise<T>,
): Promise<T> => {
  const files = await readMigrations();
  const lockfile = await readFile(join(migrationsDirectory, "migration_lock.toml"), "utf8");
  const migrationsList: MigrationList = {
    baseDir: migrationsDirectory,
    lockfile: { path: "migration_lock.toml", content: lockfile },
    shadowDbInitScript: "",
    migrationDirectories: files.map(({ name, sql }) => ({
      path: name,
      migrationFile: { path: "migration.sql", content: { tag: "ok", value: sql } },
    })),
  };
  return withEngine(databaseUrl, await readFile(schemaPath, "utf8"), (engine) => work(engine, migrationsList));
};

/** What `prisma migrate status` would find: edited, failed or missing migrations; `history` is null when in sync. */
export const diagnoseHistory = (databaseUrl: string): Promise<DiagnoseMigrationHistoryOutput> =>
  withMigrations(databaseUrl, (engine, migrationsList) =>
    engine.diagnoseMigrationHistory({ migrationsList, optInToShadowDatabase: false, filters: noFilters }),
  );

/** What `prisma migrate deploy` does; answers with the names of the migrations it applied. */
export const deployWithPrisma = async (databaseUrl: string): Promise<string[]> => {
  const { appliedMigrationNames } = await withMigrations(databaseUrl, (engine, migrationsList) =>
    engine.applyMigrations({ migrationsList, filters: noFilters }),
  );
  return appliedMigrationNames;
};
