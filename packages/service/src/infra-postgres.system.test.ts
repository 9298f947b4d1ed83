import { readFile } from "node:fs/promises";
import { startPostgres } from "@bulkhead/testkit/servers";
import { expect, test } from "vitest";

const file = new URL("../../../infra/postgres/bulkhead.conf", import.meta.url);

test("PostgreSQL takes every setting of infra/postgres", async () => {
  const lines = (await readFile(file, "utf8")).split("\n").filter((line) => /^[a-z]/.test(line));
  const settings = Object.fromEntries(
    lines.map((line): [string, string] => {
      const [name = "", value = ""] = line.split(" = ");
      return [name, value];
    }),
  );
  expect(Object.keys(settings).length).toBeGreaterThan(8);
  await using postgres = await startPostgres({ settings });
  await postgres.server.health();
});
