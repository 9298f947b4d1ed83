import { existsSync } from "node:fs";
import { mkdir, mkdtempDisposable, readdir, rename, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { removeTree, Trash } from "./scratch.ts";

const temporary = () => mkdtempDisposable("/tmp/bulkhead-scratch-");

/** A chain of directories far deeper than a path can name, built by moving each under the next. */
const makeDeep = async (root: string, levels: number): Promise<void> => {
  const name = "d".repeat(200);
  let inner = join(root, "seed");
  await mkdir(inner, { recursive: true });
  await writeFile(join(inner, "file"), "x");
  for (let level = 0; level < levels; level += 1) {
    const outer = join(root, `level-${level}`);
    await mkdir(outer);
    await rename(inner, join(outer, name));
    inner = outer;
  }
};

test("a tree deeper than the longest path is removed", async () => {
  await using directory = await temporary();
  const tree = join(directory.path, "tree");
  await makeDeep(tree, 60);
  await removeTree(tree);
  expect(existsSync(tree)).toBe(false);
});

test("links are removed, not followed", async () => {
  await using directory = await temporary();
  await mkdir(join(directory.path, "outside"));
  await writeFile(join(directory.path, "outside", "kept"), "");
  await mkdir(join(directory.path, "tree"));
  await symlink("../outside", join(directory.path, "tree", "link"));
  await removeTree(join(directory.path, "tree"));
  expect(await readdir(join(directory.path, "outside"))).toEqual(["kept"]);
});

test("what was put away is gone later, and what a crash left is swept", async () => {
  await using directory = await temporary();
  const failures: string[] = [];
  const place = join(directory.path, "trash");
  const trash = new Trash(place, (path) => failures.push(path));
  await trash.sweep();
  await mkdir(join(directory.path, "a", "b"), { recursive: true });
  let freed = false;
  await trash.put(join(directory.path, "a"), async () => {
    freed = true;
  });
  expect(existsSync(join(directory.path, "a"))).toBe(false);
  await trash.put(join(directory.path, "not there"));
  await trash.settled();
  expect(freed).toBe(true);
  await mkdir(join(place, "left", "over"), { recursive: true });
  const next = new Trash(place, (path) => failures.push(path));
  await next.sweep();
  await next.settled();
  expect(await readdir(place)).toEqual([]);
  expect(failures).toEqual([]);
});
