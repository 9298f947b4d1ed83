import type { Capacity } from "@bulkhead/contracts";
import type { HostTopology } from "@bulkhead/host";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Lab } from "./lab.ts";

const facts = `
  import { readCapacity, readCgroups, readTopology } from "@bulkhead/host";
  console.log(JSON.stringify({ capacity: readCapacity(readCgroups()), topology: readTopology() }));
`;

/** What a choice of dedicated CPUs goes by, on a machine that has what this one has not. */
describe("a host with two NUMA nodes, two cores in each, and two threads per core", () => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await Lab.boot({
      sockets: 2,
      coresPerSocket: 2,
      threadsPerCore: 2,
      numa: [
        { cpus: "0-3", memoryMib: 1024 },
        { cpus: "4-7", memoryMib: 1536 },
      ],
      modprobe: [],
    });
  });
  afterAll(() => lab[Symbol.asyncDispose]());

  const read = async (prefix: readonly string[] = []): Promise<{ capacity: Capacity; topology: HostTopology }> => {
    // V8's compiler threads trip over each other's code pages where software emulates threads of a core side by side.
    const script = [process.execPath, "--single-threaded", "--input-type=module", "--eval", facts];
    const { code, stdout, stderr } = await lab.run([...prefix, ...script], { timeoutMs: 60_000 });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    return JSON.parse(stdout) as { capacity: Capacity; topology: HostTopology };
  };

  test("sees threads of one core as siblings, and each core in its node and socket", async () => {
    const { capacity, topology } = await read();
    expect(capacity).toMatchObject({ cpuCount: 8, cpuMillis: 8000 });
    expect(topology.cpus.map(({ id, siblings, numaNodeId }) => [id, siblings, numaNodeId])).toEqual([
      [0, [0, 1], 0],
      [1, [0, 1], 0],
      [2, [2, 3], 0],
      [3, [2, 3], 0],
      [4, [4, 5], 1],
      [5, [4, 5], 1],
      [6, [6, 7], 1],
      [7, [6, 7], 1],
    ]);
    const sockets = topology.cpus.map(({ socketId }) => socketId);
    expect(new Set(sockets.slice(0, 4)).size).toBe(1);
    expect(new Set(sockets).size).toBe(2);
  });

  test("sees the memory of each node, nearly all of what it was given, and its distance from the other", async () => {
    const { nodes } = (await read()).topology;
    expect(nodes.map(({ id, cpuIds, distances }) => ({ id, cpuIds, distances }))).toEqual([
      { id: 0, cpuIds: [0, 1, 2, 3], distances: [10, 20] },
      { id: 1, cpuIds: [4, 5, 6, 7], distances: [20, 10] },
    ]);
    for (const [index, givenMib] of [1024, 1536].entries()) {
      const bytes = nodes[index]?.memoryBytes ?? 0;
      expect(bytes).toBeLessThanOrEqual(givenMib * 2 ** 20);
      expect(bytes).toBeGreaterThan(givenMib * 2 ** 20 * 0.8);
    }
  });

  test("counts as capacity only the CPUs that the agent itself may use", async () => {
    expect((await read(["taskset", "-c", "2-4"])).capacity).toMatchObject({ cpuCount: 3, cpuMillis: 3000 });
  });
});
