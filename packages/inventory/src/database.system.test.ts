import { startPostgres, type TestPostgres } from "@bulkhead/testkit/servers";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { Database, migrate, statement } from "./index.ts";

let postgres: TestPostgres;
let database: Database;
beforeAll(async () => {
  postgres = await startPostgres({ migrate });
});
beforeEach(async () => {
  database = new Database({ databaseUrl: await postgres.database(), poolMax: 4 });
});
afterEach(() => database[Symbol.asyncDispose]());
afterAll(() => postgres[Symbol.asyncDispose]());

const insert = statement("test_insert", `INSERT INTO project (name) VALUES ($1)`);
const names = statement<{ name: string }>("test_names", `SELECT name FROM project ORDER BY name`);
const raise = statement("test_raise", `UPDATE cluster SET era = era + 1`);
const era = statement<{ era: number }>("test_era", `SELECT era FROM cluster`);
const seed = statement("test_seed", `INSERT INTO cluster (id) VALUES (gen_random_uuid())`);
const lock = statement("test_lock", `SELECT pg_advisory_xact_lock($1)`);

const stored = async () => (await database.rows(names)).map((row) => row.name);

describe("values", () => {
  test("int8 comes as a number, timestamps as dates, json parsed", async () => {
    const values = statement<object>(
      "test_values",
      `SELECT 70368744177664::int8 AS bytes, 'epoch'::timestamptz AS at, '{"a": [1]}'::jsonb AS data, '{1,2}'::int[] AS ids`,
    );
    expect(await database.rows(values)).toEqual([{ bytes: 2 ** 46, at: new Date(0), data: { a: [1] }, ids: [1, 2] }]);
  });
});

describe("transaction", () => {
  test("writes all or nothing", async () => {
    await database.transaction(async (sql) => {
      await Promise.all([sql.count(insert, ["a"]), sql.count(insert, ["b"])]);
    });
    const failing = database.transaction(async (sql) => {
      await sql.count(insert, ["c"]);
      throw new Error("no");
    });
    await expect(failing).rejects.toThrow("no");
    expect(await stored()).toEqual(["a", "b", "default"]);
  });

  test("of statements sent together, one that fails takes the others with it, and the connection goes on", async () => {
    const failing = database.transaction((sql) =>
      Promise.all([sql.count(insert, ["a"]), sql.count(insert, ["default"]), sql.count(insert, ["b"])]),
    );
    await expect(failing).rejects.toMatchObject({ code: "23505" });
    expect(await stored()).toEqual(["default"]);
    await Promise.all(
      Array.from({ length: 20 }, (_, at) => database.transaction((sql) => sql.count(insert, [`n${at}`]))),
    );
    expect(await stored()).toHaveLength(21);
  });

  test("the loser of a deadlock is run again: both are written", async () => {
    await database.count(seed);
    const holds = [Promise.withResolvers<void>(), Promise.withResolvers<void>()] as const;
    let runs = 0;
    const crossing = (first: 0 | 1, second: 0 | 1) =>
      database.transaction(async (sql) => {
        runs += 1;
        await sql.count(lock, [first]);
        holds[first].resolve();
        await holds[second].promise;
        await sql.count(lock, [second]);
        await sql.count(raise);
      });
    await Promise.all([crossing(0, 1), crossing(1, 0)]);
    expect(runs).toBe(3);
    expect(await database.rows(era)).toEqual([{ era: 3 }]);
  });

  test("a serialization failure that does not end is the caller's after six times", async () => {
    let runs = 0;
    const failing = database.transaction(() => {
      runs += 1;
      return Promise.reject(Object.assign(new Error("again"), { code: "40001" }));
    });
    await expect(failing).rejects.toThrow("again");
    expect(runs).toBe(6);
  });
});

describe("a lost server", () => {
  test("is DATABASE_UNAVAILABLE for every kind of call, and heals with the next", async () => {
    const warnings: string[] = [];
    const log = { warn: (_fields: object, message: string) => void warnings.push(message) };
    await using own = new Database({ databaseUrl: await postgres.database(), poolMax: 4, log });
    const prisma = await own.prisma();
    await Promise.all(Array.from({ length: 4 }, () => own.rows(names)));
    const begun = Promise.withResolvers<void>();
    const hanging = own.transaction(async (sql) => {
      await sql.count(insert, ["half"]);
      begun.resolve();
      await sql.rows(statement("test_sleep", `SELECT pg_sleep(60)`));
    });
    const failure = hanging.catch((error: unknown) => error);
    await begun.promise;
    await postgres.kill();
    expect(await failure).toMatchObject({ code: "DATABASE_UNAVAILABLE" });
    await expect(own.rows(names)).rejects.toMatchObject({ code: "DATABASE_UNAVAILABLE" });
    await expect(own.transaction((sql) => sql.rows(names))).rejects.toMatchObject({ code: "DATABASE_UNAVAILABLE" });
    await expect(prisma.project.findMany()).rejects.toMatchObject({ code: "DATABASE_UNAVAILABLE" });
    expect(warnings).toContain("idle database connection lost");
    await postgres.restart();
    await vi.waitFor(async () => expect(await own.rows(names)).toEqual([{ name: "default" }]), { timeout: 10_000 });
    expect(await prisma.project.findMany({ select: { name: true } })).toEqual([{ name: "default" }]);
  });

  test("a URL that leads nowhere", async () => {
    await using nowhere = new Database({
      databaseUrl: "postgresql://nobody@localhost/x?host=/nonexistent",
      poolMax: 1,
    });
    await expect(nowhere.rows(names)).rejects.toMatchObject({ code: "DATABASE_UNAVAILABLE" });
  });
});

test("Prisma's client and SQL see each other's writes on the same connections", async () => {
  const prisma = await database.prisma();
  await prisma.project.create({ data: { name: "made-by-prisma" } });
  expect(await stored()).toContain("made-by-prisma");
  await expect(prisma.project.create({ data: { name: "made-by-prisma" } })).rejects.toMatchObject({ code: "P2002" });
});
