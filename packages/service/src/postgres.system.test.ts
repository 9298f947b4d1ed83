import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { startPostgres, TestDirectory } from "@bulkhead/testkit/servers";
import { Client } from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { PostgresServer } from "./postgres.ts";

const rows = async (url: string, sql: string): Promise<unknown[]> => {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(sql)).rows as unknown[];
  } finally {
    await client.end();
  }
};

describe("a database for tests", () => {
  let postgres: Awaited<ReturnType<typeof startPostgres>>;
  beforeAll(async () => {
    postgres = await startPostgres({
      migrate: (url) => rows(url, "create table thing as select 7 as value"),
    });
  });
  afterAll(() => postgres[Symbol.asyncDispose]());

  test("copies are migrated, owned by our role and apart from each other", async () => {
    const [first, second] = [await postgres.database(), await postgres.database()];
    await rows(first, "update thing set value = 8");
    expect(await rows(first, "select value, current_user::text as role from thing")).toEqual([
      { value: 8, role: "bulkhead" },
    ]);
    expect(await rows(second, "select value from thing")).toEqual([{ value: 7 }]);
  });

  test("our role is no superuser", async () => {
    await expect(rows(await postgres.database(), "select pg_read_file('/etc/passwd')")).rejects.toThrow(/permission/);
  });

  test("it listens on no TCP port", async () => {
    expect(await rows(await postgres.database(), "show listen_addresses")).toEqual([{ listen_addresses: "" }]);
  });

  test("an account that is not on the list is refused", async () => {
    const url = await postgres.database();
    // The kernel tells the server our effective account; daemon is on every Debian and not on this server's list.
    process.seteuid?.("daemon");
    try {
      await expect(rows(url, "select 1")).rejects.toThrow(/peer authentication failed/i);
    } finally {
      process.seteuid?.(0);
    }
  });

  test("kill -9 loses nothing committed, and the same connection string works again", async () => {
    const url = await postgres.database();
    await rows(url, "insert into thing values (9)");
    await postgres.restart();
    expect(await rows(url, "select value from thing order by value")).toEqual([{ value: 7 }, { value: 9 }]);
  });
});

test("a killed server leaves no process, file or shared memory when its test ends", async () => {
  const segments = (): string => spawnSync("ipcs", ["-m"], { encoding: "utf8" }).stdout;
  let path = "";
  let pid = 0;
  let segment = new RegExp("");
  {
    await using postgres = await startPostgres();
    path = join(new URL(postgres.server.url()).searchParams.get("host") ?? "", "..");
    pid = postgres.server.process?.pid ?? 0;
    const [, id = ""] =
      readFileSync(join(path, "data/postmaster.pid"), "utf8").split("\n")[6]?.trim().split(/\s+/) ?? [];
    segment = new RegExp(`^0x[0-9a-f]+ +${id} `, "m");
    expect(segments()).toMatch(segment);
    await postgres.kill();
  }
  expect(segments()).not.toMatch(segment);
  expect(existsSync(path)).toBe(false);
  expect(existsSync(`/proc/${pid}`)).toBe(false);
});

describe("what cannot work says so", () => {
  test("a data directory of another major version", async () => {
    await using directory = await TestDirectory.make("postgres-version");
    await writeFile(join(directory.path, "PG_VERSION"), "15\n");
    const server = new PostgresServer({
      dataDir: directory.path,
      socketDir: join(directory.path, "s"),
      user: "nobody",
    });
    await expect(server.start()).rejects.toMatchObject({
      code: "SETUP_FAILED",
      message: expect.stringContaining("was made by PostgreSQL 15") as string,
    });
  });

  test("a socket path that does not fit", async () => {
    const server = new PostgresServer({
      dataDir: "/nonexistent",
      socketDir: `/tmp/${"x".repeat(100)}`,
      user: "nobody",
    });
    await expect(server.start()).rejects.toMatchObject({ code: "SETUP_FAILED" });
  });

  test("a user that does not exist", async () => {
    const server = new PostgresServer({ dataDir: "/nonexistent", socketDir: "/tmp/s", user: "no-such-user" });
    await expect(server.start()).rejects.toMatchObject({
      message: expect.stringContaining("no system user no-such-user") as string,
    });
  });

  test("a setting the server refuses: its own words are in the message", async () => {
    await expect(startPostgres({ settings: { shared_buffers: "lots" } })).rejects.toMatchObject({
      code: "SETUP_FAILED",
      message: expect.stringContaining("shared_buffers") as string,
    });
  });
});
