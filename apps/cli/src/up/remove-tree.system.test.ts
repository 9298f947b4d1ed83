import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { removeTree } from "./remove-tree.ts";

const tree = (): string => {
  const path = mkdtempSync(join(tmpdir(), "bulkhead-remove-"));
  mkdirSync(join(path, "a/b"), { recursive: true });
  writeFileSync(join(path, "a/file"), "x");
  return path;
};

test("a tree is gone, and so is one that never was", async () => {
  const path = tree();
  await removeTree(path);
  expect(existsSync(path)).toBe(false);
  await removeTree(path);
});

test("a mount point below it is emptied and stays; everything else is gone", async () => {
  const path = tree();
  const mounted = join(path, "hosts");
  mkdirSync(mounted);
  execFileSync("mount", ["-t", "tmpfs", "none", mounted]);
  try {
    mkdirSync(join(mounted, "deep/er"), { recursive: true });
    writeFileSync(join(mounted, "deep/file"), "x");
    await removeTree(path);
    expect(readdirSync(path)).toEqual(["hosts"]);
    expect(readdirSync(mounted)).toEqual([]);
  } finally {
    execFileSync("umount", [mounted]);
    await removeTree(path);
  }
  expect(existsSync(path)).toBe(false);
});

test("a tree that is itself a mount point is emptied", async () => {
  const path = mkdtempSync(join(tmpdir(), "bulkhead-remove-"));
  execFileSync("mount", ["-t", "tmpfs", "none", path]);
  try {
    writeFileSync(join(path, "file"), "x");
    await removeTree(path);
    expect(readdirSync(path)).toEqual([]);
  } finally {
    execFileSync("umount", [path]);
    await removeTree(path);
  }
});
