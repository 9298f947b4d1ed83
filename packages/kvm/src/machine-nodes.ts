import { readFileSync } from "node:fs";
import { join } from "node:path";
import { formatCpuList, readTopology, type HostTopology } from "@bulkhead/host";
import { StartFailure } from "@bulkhead/node";
import type { MachinePlaces } from "./machine-places.ts";

/** NUMA nodes of some of a host's CPUs, ascending; none on a host with one node, where there is nothing to choose. */
export const nodesOf = (cpuIds: readonly number[], { cpus, nodes }: HostTopology = readTopology()): number[] => {
  if (nodes.length < 2) return [];
  const places = cpus.filter(({ id }) => cpuIds.includes(id));
  return [...new Set(places.map(({ numaNodeId }) => numaNodeId))].toSorted((a, b) => a - b);
};

/**
 * NUMA nodes that a machine's memory is bound to: those of its processors' CPUs, where all of it is locked at its start.
 * Other memory comes from near whoever touches it first, and from elsewhere rather than not at all.
 */
export const boundNodes = (places: Pick<MachinePlaces, "pinned" | "lockedBytes">, topology?: HostTopology): number[] =>
  places.lockedBytes === 0 ? [] : nodesOf(places.pinned, topology);

/** Bytes of a node that are free, or a file's and not needed. */
const roomOf = (node: number, system: string): number => {
  const text = readFileSync(join(system, `node/node${node}/meminfo`), "utf8");
  const kib = ["MemFree", "Active\\(file\\)", "Inactive\\(file\\)"].map((name) =>
    Number(new RegExp(`${name}: +(\\d+) kB`).exec(text)?.[1] ?? 0),
  );
  return kib.reduce((sum, each) => sum + each, 0) * 1024;
};

/**
 * Throws StartFailure ResourceExhausted when the nodes have no room for a machine's memory: the kernel would end others for
 * it that are there.
 */
export const admitNodes = (
  nodes: readonly number[],
  { lockedBytes }: Pick<MachinePlaces, "lockedBytes">,
  system = "/sys/devices/system",
): void => {
  if (nodes.length === 0) return;
  const room = nodes.reduce((sum, node) => sum + roomOf(node, system), 0);
  if (room >= lockedBytes) return;
  const detail = `the memory of NUMA node ${formatCpuList(nodes)} has room for ${room} bytes, the VM locks ${lockedBytes}`;
  throw new StartFailure("ResourceExhausted", detail);
};

/** What the kernel says of a process whose one mapping of this size was promised to come from these nodes (numa_maps(5)). */
export const nodeViolations = (
  pid: number,
  { bytes, nodes }: { readonly bytes: number; readonly nodes: readonly number[] },
  proc = "/proc",
): string[] => {
  if (nodes.length === 0) return [];
  const read = (name: string): string[] => readFileSync(join(proc, String(pid), name), "utf8").split("\n");
  const [begin] = read("maps").flatMap((line) => {
    const [, from = "", to = ""] = /^([0-9a-f]+)-([0-9a-f]+) rw/.exec(line) ?? [];
    return BigInt(`0x${to || 0}`) - BigInt(`0x${from || 0}`) === BigInt(bytes) ? [from] : [];
  });
  const policy = read("numa_maps")
    .find((line) => line.startsWith(`${begin} `))
    ?.split(" ")[1];
  const wanted = `bind:${formatCpuList(nodes)}`;
  return policy === wanted ? [] : [`its memory is ${policy ?? "nowhere"} of NUMA nodes, promised ${wanted}`];
};
