import { mkdtempDisposable, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readOrCreateHostId } from "./identity.ts";
import { hostHash, hostPaths } from "./paths.ts";

const temporary = () => mkdtempDisposable("/tmp/bulkhead-host-id-");

test("the id is made once, also by agents starting together, and no draft stays", async () => {
  await using directory = await temporary();
  const state = join(directory.path, "state");
  const ids = await Promise.all(Array.from({ length: 8 }, (_, n) => readOrCreateHostId(state, 1_700_000_000_000 + n)));
  expect(new Set(ids).size).toBe(1);
  expect(await readdir(state)).toEqual(["host-id"]);
});

test("a damaged id is refused, never replaced", async () => {
  await using directory = await temporary();
  await writeFile(join(directory.path, "host-id"), "nonsense\n");
  await expect(readOrCreateHostId(directory.path, 0)).rejects.toMatchObject({ code: "CONFIG_INVALID" });
});

test("paths of two hosts on one machine never meet", async () => {
  await using directory = await temporary();
  const a = await readOrCreateHostId(join(directory.path, "a"), 1);
  const b = await readOrCreateHostId(join(directory.path, "b"), 1);
  expect(hostHash(a)).toMatch(/^[0-9a-f]{8}$/);
  expect(hostPaths("/s", "/r", a).run).not.toBe(hostPaths("/s", "/r", b).run);
});
