import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseCpuList } from "./cpu-list.ts";

/** Where one logical CPU is: what a choice of whole CPUs for one instance goes by. */
export interface CpuPlace {
  readonly id: number;
  readonly socketId: number;
  /** logical CPUs of the same core, itself included, ascending: two with SMT, one without */
  readonly siblings: readonly number[];
  readonly numaNodeId: number;
}

export interface NumaNode {
  readonly id: number;
  readonly cpuIds: readonly number[];
  readonly memoryBytes: number;
  /** to each node in order of ids; 10 is itself (ACPI's SLIT) */
  readonly distances: readonly number[];
}

export interface HostTopology {
  /** online CPUs, ascending */
  readonly cpus: readonly CpuPlace[];
  /** ascending; one node that has everything where the kernel knows none */
  readonly nodes: readonly NumaNode[];
}

const systemDirectory = "/sys/devices/system";

const numaNodes = (system: string): NumaNode[] => {
  const directory = join(system, "node");
  let names: string[];
  try {
    names = readdirSync(directory).filter((name) => /^node\d+$/.test(name));
  } catch {
    // A kernel without CONFIG_NUMA has no such directory.
    return [];
  }
  const read = (name: string, file: string): string => readFileSync(join(directory, name, file), "utf8").trim();
  return names
    .map((name) => ({
      id: Number(name.slice("node".length)),
      cpuIds: parseCpuList(read(name, "cpulist")),
      memoryBytes: Number(/MemTotal:\s*(\d+) kB/.exec(read(name, "meminfo"))?.[1] ?? 0) * 1024,
      distances: read(name, "distance").split(/\s+/).map(Number),
    }))
    .sort((a, b) => a.id - b.id);
};

/** Cores, sockets and NUMA nodes of the CPUs that are online, from sysfs (Linux, Documentation/admin-guide/cputopology). */
export const readTopology = (system: string = systemDirectory): HostTopology => {
  const found = numaNodes(system);
  const cpu = (id: number, file: string): string =>
    readFileSync(join(system, "cpu", `cpu${id}`, "topology", file), "utf8").trim();
  const cpus = parseCpuList(readFileSync(join(system, "cpu/online"), "utf8").trim()).map((id) => ({
    id,
    socketId: Number(cpu(id, "physical_package_id")),
    siblings: parseCpuList(cpu(id, "thread_siblings_list")),
    numaNodeId: found.find(({ cpuIds }) => cpuIds.includes(id))?.id ?? 0,
  }));
  if (found.length > 0) return { cpus, nodes: found };
  return { cpus, nodes: [{ id: 0, cpuIds: cpus.map(({ id }) => id), memoryBytes: 0, distances: [10] }] };
};
