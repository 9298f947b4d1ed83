import { mkdir, mkdtempDisposable, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openCgroupParents } from "./cgroup-parents.ts";
import type { CgroupLayout } from "./cgroups.ts";

const temporary = () => mkdtempDisposable("/tmp/bulkhead-host-cgroup2-");

/** A cgroup2 directory as the kernel shows it; only the root has no cgroup.type. */
const cgroup2 = async (path: string, options: { root: boolean; controllers: string }): Promise<string> => {
  await mkdir(path, { recursive: true });
  await writeFile(join(path, "cgroup.controllers"), `${options.controllers}\n`);
  await writeFile(join(path, "cgroup.subtree_control"), "");
  await writeFile(join(path, "cgroup.procs"), "");
  if (!options.root) await writeFile(join(path, "cgroup.type"), "domain\n");
  return path;
};

const layoutOf = (own: string, mountPoint: string): CgroupLayout => ({
  mode: "v2",
  hierarchies: [{ controllers: ["unified"], mountPoint, own }],
});

test("on v2 controllers are enabled top-down, at the base and at the host's own cgroup", async () => {
  await using directory = await temporary();
  const base = await cgroup2(directory.path, { root: true, controllers: "cpuset cpu io memory hugetlb pids rdma" });
  const host = await cgroup2(join(base, "bulkhead-0a0b0c0d"), { root: false, controllers: "" });
  const parents = await openCgroupParents("bulkhead-0a0b0c0d", layoutOf(base, base));
  expect(parents.paths).toEqual({ unified: host });
  for (const path of [base, host]) {
    expect(await readFile(join(path, "cgroup.subtree_control"), "utf8")).toBe("+cpu +cpuset +memory +pids +io");
  }
  expect(parents.problems).toEqual([]);
});

test("a controller the agent was not given is a problem by name", async () => {
  await using directory = await temporary();
  const base = await cgroup2(directory.path, { root: true, controllers: "cpu memory pids" });
  await cgroup2(join(base, "bulkhead-0a0b0c0d"), { root: false, controllers: "" });
  const parents = await openCgroupParents("bulkhead-0a0b0c0d", layoutOf(base, base));
  expect([...parents.controllers]).toEqual(["cpu", "memory", "pids"]);
  expect(parents.problems).toEqual([
    "the cpuset cgroup controller is not available to this agent",
    "the io cgroup controller is not available to this agent",
  ]);
});

test("an agent that starts again in its leaf finds the host's cgroup beside it", async () => {
  await using directory = await temporary();
  const service = await cgroup2(join(directory.path, "service"), { root: false, controllers: "cpu memory" });
  const leaf = await cgroup2(join(service, "agent"), { root: false, controllers: "" });
  const host = await cgroup2(join(service, "bulkhead-0a0b0c0d"), { root: false, controllers: "" });
  const parents = await openCgroupParents("bulkhead-0a0b0c0d", layoutOf(leaf, directory.path));
  expect(parents.paths).toEqual({ unified: host });
});
