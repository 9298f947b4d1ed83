import { existsSync } from "node:fs";
import { mkdir, mkdtempDisposable, readdir } from "node:fs/promises";
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
  trash.put(join(directory.path, "a"), async () => {
    freed = true;
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
    trash.put(path, () => {
      if (index === 7) throw new Error("refused");
      gone.push(index);
    });
  }
  await trash.settled();
  expect(gone).toEqual(Array.from({ length: 50 }, (_, index) => index).filter((index) => index !== 7));
  expect(failed).toHaveLength(1);
  expect(await readdir(join(directory.path, "trash"))).toEqual([]);
});
