import { existsSync } from "node:fs";
import { mkdir, mkdtempDisposable, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Trash } from "./trash.ts";

const temporary = () => mkdtempDisposable("/tmp/bulkhead-scratch-");

test("what was put away is gone later, and what a crash left is swept", async () => {
  await using directory = await temporary();
  const failures: string[] = [];
  const place = join(directory.path, "trash");
  const trash = new Trash(place, (path) => failures.push(path));
  trash.sweep();
  await mkdir(join(directory.path, "a", "b"), { recursive: true });
  let freed = false;
  trash.put(join(directory.path, "a"), {
    afterwards: async () => {
      freed = true;
    },
  });
  expect(existsSync(join(directory.path, "a"))).toBe(false);
  trash.put(join(directory.path, "not there"));
  await trash.settled();
  expect(freed).toBe(true);
  await mkdir(join(place, "left", "over"), { recursive: true });
  const next = new Trash(place, (path) => failures.push(path));
  next.sweep();
  await next.settled();
  expect(await readdir(place)).toEqual([]);
  expect(failures).toEqual([]);
});

test("many that wait go together, and one that cannot be removed holds up nobody", async () => {
  await using directory = await temporary();
  const failed: string[] = [];
  const trash = new Trash(join(directory.path, "trash"), (path) => failed.push(path));
  trash.sweep();
  const gone: number[] = [];
  for (let index = 0; index < 50; index += 1) {
    const path = join(directory.path, `tree-${index}`);
    await mkdir(join(path, "below"), { recursive: true });
    trash.put(path, {
      afterwards: () => {
        if (index === 7) throw new Error("refused");
        gone.push(index);
      },
    });
  }
  await trash.settled();
  expect(gone).toEqual(Array.from({ length: 50 }, (_, index) => index).filter((index) => index !== 7));
  expect(failed).toHaveLength(1);
  expect(await readdir(join(directory.path, "trash"))).toEqual([]);
});

test("what every instance has is taken out again, empty, and only as it was made", async () => {
  await using directory = await temporary();
  const failures: string[] = [];
  const place = join(directory.path, "trash");
  const trash = new Trash(place, (path) => failures.push(path));
  trash.sweep();
  const path = (name: string, ...below: string[]): string => join(directory.path, name, ...below);
  /** Puts one away and resolves when it is free. */
  const use = async (name: string, mode = 0o700): Promise<void> => {
    await mkdir(path(name, "scratch", "layer", "upper"), { recursive: true, mode: 0o700 });
    await mkdir(path(name, "logs"), { mode });
    for (const file of ["record", "logs/log", "scratch/layer/upper/data"]) await writeFile(path(name, file), "x");
    await new Promise<void>((resolve) => trash.put(path(name), { kept: ["scratch", "logs"], afterwards: resolve }));
  };
  expect(trash.take(path("first"))).toBe(false);
  await use("one");
  expect(trash.take(path("another"))).toBe(true);
  expect((await readdir(path("another"), { recursive: true })).toSorted()).toEqual(["logs", "scratch"]);
  // Somebody gave one of them other permissions.
  await use("changed", 0o711);
  expect(trash.take(path("none"))).toBe(false);
  // One that is there and empty waits for nobody who wants all gone.
  await use("last");
  await trash.settled();
  expect(trash.take(path("none"))).toBe(false);
  expect(await readdir(place)).toEqual([]);
  expect(failures).toEqual([]);
});
