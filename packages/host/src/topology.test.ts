import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { readTopology } from "./topology.ts";

let system: string;
beforeEach(() => {
  system = mkdtempSync(join(tmpdir(), "bulkhead-topology-"));
});
afterEach(() => rmSync(system, { recursive: true, force: true }));

const write = (files: Readonly<Record<string, string>>): void => {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(system, path)), { recursive: true });
    writeFileSync(join(system, path), `${text}\n`);
  }
};
const cpu = (id: number, socket: number, siblings: string): Record<string, string> => ({
  [`cpu/cpu${id}/topology/physical_package_id`]: String(socket),
  [`cpu/cpu${id}/topology/thread_siblings_list`]: siblings,
});

describe("topology", () => {
  test("two sockets with SMT are two nodes, and an offline CPU is no CPU", () => {
    write({
      "cpu/online": "0-2,4-5",
      ...cpu(0, 0, "0,4"),
      ...cpu(1, 0, "1,5"),
      ...cpu(2, 1, "2"),
      ...cpu(4, 0, "0,4"),
      ...cpu(5, 0, "1,5"),
      "node/node0/cpulist": "0-1,4-5",
      "node/node0/meminfo": "Node 0 MemTotal:        2048 kB\nNode 0 MemFree:  1024 kB",
      "node/node0/distance": "10 21",
      "node/node1/cpulist": "2",
      "node/node1/meminfo": "Node 1 MemTotal:        4096 kB",
      "node/node1/distance": "21 10",
      "node/possible": "0-1",
    });
    const { cpus, nodes } = readTopology(system);
    expect(cpus.map(({ id, socketId, siblings, numaNodeId }) => [id, socketId, siblings, numaNodeId])).toEqual([
      [0, 0, [0, 4], 0],
      [1, 0, [1, 5], 0],
      [2, 1, [2], 1],
      [4, 0, [0, 4], 0],
      [5, 0, [1, 5], 0],
    ]);
    expect(nodes).toEqual([
      { id: 0, cpuIds: [0, 1, 4, 5], memoryBytes: 2 ** 21, distances: [10, 21] },
      { id: 1, cpuIds: [2], memoryBytes: 2 ** 22, distances: [21, 10] },
    ]);
  });

  test("a kernel that knows no nodes has one with every CPU", () => {
    write({ "cpu/online": "0-1", ...cpu(0, 0, "0"), ...cpu(1, 0, "1") });
    expect(readTopology(system).nodes).toEqual([{ id: 0, cpuIds: [0, 1], memoryBytes: 0, distances: [10] }]);
    expect(readTopology(system).cpus.map(({ numaNodeId }) => numaNodeId)).toEqual([0, 0]);
  });

  test("this machine's CPUs are each in their own core and node", () => {
    const { cpus, nodes } = readTopology();
    expect(cpus.length).toBeGreaterThan(0);
    for (const { id, siblings, numaNodeId } of cpus) {
      expect(siblings).toContain(id);
      expect(nodes.find((node) => node.id === numaNodeId)?.cpuIds).toContain(id);
    }
  });
});
