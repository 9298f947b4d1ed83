import { mkdir, mkdtempDisposable, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { HostTopology } from "@bulkhead/host";
import { admitNodes, boundNodes, nodesOf, nodeViolations } from "./machine-nodes.ts";

const hostOf = (...nodeOfCpu: readonly number[]): HostTopology => ({
  cpus: nodeOfCpu.map((numaNodeId, id) => ({ id, socketId: 0, siblings: [id], numaNodeId })),
  nodes: [...new Set(nodeOfCpu)].map((id) => ({ id, cpuIds: [], memoryBytes: 0, distances: [] })),
});

test("memory comes from the nodes of the CPUs, where a host has more than one", () => {
  expect(nodesOf([2, 3], hostOf(0, 0, 1, 1))).toEqual([1]);
  expect(nodesOf([3, 0], hostOf(0, 0, 1, 1))).toEqual([0, 1]);
  expect(nodesOf([], hostOf(0, 0, 1, 1))).toEqual([]);
  expect(nodesOf([0, 1], hostOf(0, 0))).toEqual([]);
});

test("only memory that is locked is bound, and only to nodes that have room for it", async () => {
  const host = hostOf(0, 0, 1, 1);
  expect(boundNodes({ pinned: [2], lockedBytes: 1 }, host)).toEqual([1]);
  expect(boundNodes({ pinned: [2], lockedBytes: 0 }, host)).toEqual([]);
  await using system = await mkdtempDisposable("/tmp/bulkhead-nodes-");
  const node = join(system.path, "node/node1");
  await mkdir(node, { recursive: true });
  const lines = ["MemTotal: 9000 kB", "MemFree: 1000 kB", "Active(file): 20 kB", "Inactive(file): 4 kB"];
  await writeFile(join(node, "meminfo"), lines.map((line) => `Node 1 ${line}\n`).join(""));
  expect(() => admitNodes([1], { lockedBytes: 2 ** 20 }, system.path)).not.toThrow();
  const detail = "the memory of NUMA node 1 has room for 1048576 bytes, the VM locks 1048577";
  expect(() => admitNodes([1], { lockedBytes: 2 ** 20 + 1 }, system.path)).toThrow(detail);
});

test("what the kernel says of the guest's memory is compared with the nodes it was promised", async () => {
  await using proc = await mkdtempDisposable("/tmp/bulkhead-nodes-");
  const process = join(proc.path, "7");
  await mkdir(process);
  await writeFile(join(process, "maps"), "7f0000000000-7f0000200000 rw-p 0\n7f0000400000-7f0000c00000 rw-p 0\n");
  const memory = { bytes: 8 * 2 ** 20, nodes: [1] };
  const says = async (policy: string): Promise<string[]> => {
    await writeFile(join(process, "numa_maps"), `7f0000000000 default N0=1\n7f0000400000 ${policy} anon=2 N1=2\n`);
    return nodeViolations(7, memory, proc.path);
  };
  expect(await says("bind:1")).toEqual([]);
  expect(await says("default")).toEqual(["its memory is default of NUMA nodes, promised bind:1"]);
  expect(nodeViolations(7, { ...memory, bytes: 2 ** 20 }, proc.path)).toHaveLength(1);
  expect(nodeViolations(8, { ...memory, nodes: [] }, proc.path)).toEqual([]);
});
