import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, mkdtempDisposable, readFile, rmdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { cgroupBelow, openCgroupParents, removeCgroupParents } from "./cgroup-parents.ts";
import { readCgroups } from "./cgroups.ts";
import { openRunDirectory } from "./run-directory.ts";
import { hostPaths } from "./paths.ts";
import type { HostId } from "@bulkhead/contracts";

const parentName = (): string => `bulkhead-${randomBytes(4).toString("hex")}`;

test("parents are made below the own cgroup in every hierarchy, twice the same, and removed", async () => {
  const name = parentName();
  const layout = readCgroups();
  const parents = await openCgroupParents(name, layout);
  try {
    expect(await openCgroupParents(name, layout)).toEqual(parents);
    for (const { own, controllers } of layout.hierarchies) {
      expect(dirname(parents.paths[controllers[0] ?? ""] ?? "")).toBe(own);
    }
    expect([...parents.controllers].sort()).toEqual(expect.arrayContaining(["cpu", "cpuset", "io", "memory", "pids"]));
    expect(parents.problems).toEqual([]);
    const cpuset = parents.paths["cpuset"] ?? parents.paths["unified"] ?? "";
    const effective = layout.mode === "v2" ? "cpuset.cpus.effective" : "cpuset.cpus";
    expect((await readFile(join(cpuset, effective), "utf8")).trim()).not.toBe("");
    expect(cgroupBelow(parents, "x")["unified"]).toBe(join(parents.paths["unified"] ?? "", "x"));
  } finally {
    await removeCgroupParents(parents);
  }
  for (const path of Object.values(parents.paths)) expect(existsSync(path)).toBe(false);
  await removeCgroupParents(parents);
});

test("a configured cgroup is made level by level in every hierarchy, with a place for shims that takes processes", async () => {
  const [outer, name] = [parentName(), parentName()];
  const layout = readCgroups();
  const parents = await openCgroupParents(name, layout, `${outer}/instances`);
  const sleeper = spawn("sleep", ["1000"]);
  try {
    expect(await openCgroupParents(name, layout, `${outer}/instances`)).toEqual(parents);
    for (const { own, controllers } of layout.hierarchies) {
      expect(parents.paths[controllers[0] ?? ""]).toBe(join(own, outer, "instances", name));
    }
    expect(parents.problems).toEqual([]);
    expect(parents.shims.map((path) => dirname(path)).sort()).toEqual(
      [...new Set(Object.values(parents.paths))].sort(),
    );
    for (const directory of parents.shims) await writeFile(join(directory, "cgroup.procs"), String(sleeper.pid));
    await expect(removeCgroupParents(parents)).rejects.toMatchObject({ code: "EBUSY" });
  } finally {
    const exited = once(sleeper, "exit");
    sleeper.kill("SIGKILL");
    await exited;
    await removeCgroupParents(parents);
    for (const { own } of layout.hierarchies) {
      await rmdir(join(own, outer, "instances"));
      await rmdir(join(own, outer));
    }
  }
});

test("a configured cgroup that would be the root of a hierarchy, or outside of it, is refused", async () => {
  for (const parent of ["/", "/../x", "../../../../../../../x"]) {
    await expect(openCgroupParents(parentName(), readCgroups(), parent)).rejects.toThrow("is no cgroup below");
  }
});

test("parents with an instance below are not removed", async () => {
  const parents = await openCgroupParents(parentName());
  const below = Object.values(cgroupBelow(parents, "instance"))[0] ?? "";
  await mkdir(below);
  try {
    await expect(removeCgroupParents(parents)).rejects.toMatchObject({ code: "EBUSY" });
  } finally {
    await rmdir(below);
    await removeCgroupParents(parents);
  }
});

test("what an earlier boot left in the run directory is emptied", async () => {
  await using directory = await mkdtempDisposable("/tmp/bulkhead-host-run-");
  const paths = hostPaths(
    directory.path,
    join(directory.path, "run"),
    "0190a5c0-0000-7000-8000-000000000001" as HostId,
  );
  await openRunDirectory(paths);
  await writeFile(join(paths.runInstances, "kept"), "");
  await openRunDirectory(paths);
  expect(existsSync(join(paths.runInstances, "kept"))).toBe(true);
  await writeFile(join(paths.run, "boot-id.container"), "another boot\n");
  await openRunDirectory(paths);
  expect(existsSync(join(paths.runInstances, "kept"))).toBe(false);
});
