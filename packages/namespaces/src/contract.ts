import { readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import type { Resources } from "@bulkhead/contracts";
import { parseCpuList, type CgroupMode, type PromisedCpus } from "@bulkhead/host";
import {
  readAffinity,
  readLimits,
  type CgroupPlacement,
  type Limits,
  type ProcessRef,
} from "@bulkhead/native-namespaces";
import type { ContractCheck } from "@bulkhead/node";
import { cpuPeriodUs, defaultPidsMax, quotaOf, sharesOf, weightOf, type Enforcement } from "./resources.ts";

/** The kernel counts memory in pages and rounds limits down to whole ones (x86-64: 4 KiB). */
const pageBytes = 4096;
/** Kernel names of the namespaces every container has of its own (namespaces(7)). */
const ownNamespaces = ["mnt", "pid", "net", "ipc", "uts", "cgroup", "user"] as const;

export interface Promised {
  readonly resources: Resources;
  /** as they are at this moment */
  readonly cpus: () => PromisedCpus;
  readonly mode: CgroupMode;
  readonly enforcement: Enforcement;
  /** why the root of this process is not the one it was promised; null when it is */
  readonly disk: (pid: number) => string | null;
  /** namespaces in common with others; `links` is null when nothing holds them any more */
  readonly shared: { readonly name: string; readonly links: ReadonlyMap<string, string> | null } | null;
}

type Expect = (name: string, actual: number | string | null, promised: number | string | null) => void;

const read = (cgroup: CgroupPlacement, controller: string, file: string): string =>
  readFileSync(join(cgroup.paths[controller] ?? cgroup.paths["unified"] ?? "", file), "utf8").trim();

/** Memory kept back, and on cgroup2 the throttle below the limit that only a shrink may set for a moment. */
const checkMemory = (cgroup: CgroupPlacement, { resources, mode }: Promised, expect: Expect): void => {
  const kept = resources.memoryReservationBytes ?? 0;
  const reservation = Math.floor(kept / pageBytes) * pageBytes;
  if (mode === "v2") {
    expect("memory reservation", read(cgroup, "unified", "memory.low"), String(reservation));
    expect("memory throttle", read(cgroup, "unified", "memory.high"), "max");
  } else if (kept > 0) {
    expect("memory reservation", read(cgroup, "memory", "memory.soft_limit_in_bytes"), String(reservation));
  }
};

/** Name in the spec, key of cgroup2's io.max, file of v1. */
const ioLimits = [
  ["readBytesPerSec", "rbps", "blkio.throttle.read_bps_device"],
  ["writeBytesPerSec", "wbps", "blkio.throttle.write_bps_device"],
  ["readOpsPerSec", "riops", "blkio.throttle.read_iops_device"],
  ["writeOpsPerSec", "wiops", "blkio.throttle.write_iops_device"],
] as const;

/** The limit a file names for a device, or null: `M:m value` on v1, `M:m key=value …` on cgroup2. */
const deviceLimit = (text: string, device: string, key: string | null): string | null => {
  const words = text
    .split("\n")
    .map((line) => line.split(" "))
    .find(([name]) => name === device);
  const value = key === null ? words?.[1] : words?.find((word) => word.startsWith(`${key}=`))?.slice(key.length + 1);
  return value === undefined || value === "max" ? null : value;
};

const checkIo = (cgroup: CgroupPlacement, promised: Promised, expect: Expect): void => {
  const { resources, mode, enforcement } = promised;
  if (resources.io === undefined || enforcement.disk === null) return;
  const device = `${enforcement.disk.major}:${enforcement.disk.minor}`;
  for (const [field, key, file] of ioLimits) {
    const text = mode === "v2" ? read(cgroup, "unified", "io.max") : read(cgroup, "blkio", file);
    const wanted = resources.io[field];
    expect(
      `io ${field}`,
      deviceLimit(text, device, mode === "v2" ? key : null),
      wanted === undefined ? null : String(wanted),
    );
  }
};

const checkCpu = (limits: Limits, { resources, mode }: Promised, expect: Expect): void => {
  const quota = limits.cpuQuotaUs === null ? null : (limits.cpuQuotaUs * cpuPeriodUs) / limits.cpuPeriodUs;
  expect("cpu quota", quota, resources.cpuLimitMillis === undefined ? null : quotaOf(resources.cpuLimitMillis));
  const shares = sharesOf(resources.cpuMillis);
  expect(
    mode === "v2" ? "cpu weight" : "cpu shares",
    limits.cpuWeightOrShares,
    mode === "v2" ? weightOf(shares) : shares,
  );
};

/** A program may narrow its own threads' affinity as it likes; none may reach beyond, and the cpuset must have it all. */
const cpuViolations = (cgroup: CgroupPlacement, limits: Limits, cpus: PromisedCpus): string[] => {
  const { straying, threads, cpus: outside } = readAffinity(cgroup, cpus.most);
  const own = parseCpuList(limits.cpusetCpus ?? "");
  const extra = own.filter((id) => !cpus.most.includes(id));
  const missing = cpus.least.filter((id) => !own.includes(id));
  return [
    ...(extra.length === 0 ? [] : [`its cpuset has CPU ${extra.join(",")}, which it was not given`]),
    ...(straying === 0
      ? []
      : [`${straying} of ${threads} threads may run on CPU ${outside.join(",")}, which it was not given`]),
    ...(missing.length === 0 ? [] : [`its cpuset lacks CPU ${missing.join(",")}, which is its own`]),
  ];
};

const limitViolations = (cgroup: CgroupPlacement, promised: Promised): string[] => {
  const { resources } = promised;
  const cpus = promised.cpus();
  const limits = readLimits(cgroup);
  const violations: string[] = [];
  const expect: Expect = (name, actual, wanted) => {
    if (actual !== wanted) violations.push(`${name} is ${actual ?? "unlimited"}, promised ${wanted ?? "unlimited"}`);
  };
  expect("memory limit", limits.memoryLimitBytes, Math.floor(resources.memoryBytes / pageBytes) * pageBytes);
  checkCpu(limits, promised, expect);
  expect("pids limit", limits.pidsMax, resources.pidsMax ?? defaultPidsMax);
  checkMemory(cgroup, promised, expect);
  checkIo(cgroup, promised, expect);
  const ofCpus = cpuViolations(cgroup, limits, cpus);
  if (ofCpus.length === 0 || promised.cpus().change === cpus.change) return [...violations, ...ofCpus];
  // The other agent has changed them meanwhile: this was about two states of the host at once.
  return limitViolations(cgroup, promised);
};

const namespaceViolations = (pid: number, shared: Promised["shared"]): string[] => {
  const of = (who: number | "self", type: string): string => readlinkSync(`/proc/${who}/ns/${type}`);
  const hosts = ownNamespaces
    .filter((type) => of(pid, type) === of("self", type))
    .map((type) => `shares the host's ${type} namespace`);
  if (shared === null) return hosts;
  if (shared.links === null) return [...hosts, `nothing holds the namespaces of share ${shared.name} any more`];
  const strayed = [...shared.links]
    .filter(([type, link]) => of(pid, type) !== link)
    .map(([type]) => `is not in the ${type} namespace of share ${shared.name}`);
  return [...hosts, ...strayed];
};

/**
 * Reads back from the kernel what an instance was promised: limits from its cgroup, CPUs of every thread from the
 * scheduler, namespaces from its links. A process that ends meanwhile has nothing left to hold.
 */
export const checkContract = (cgroup: CgroupPlacement, init: ProcessRef, promised: Promised): ContractCheck => {
  try {
    const disk = promised.disk(init.pid);
    const violations = [
      ...limitViolations(cgroup, promised),
      ...(disk === null ? [] : [disk]),
      ...namespaceViolations(init.pid, promised.shared),
    ];
    return { held: violations.length === 0, violations };
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code === "ENOENT" || code === "ESRCH") return { held: true, violations: [] };
    throw error;
  }
};
