import type { Capacity, CreateWorkload, WorkloadSpec } from "@bulkhead/contracts";
import { instanceName, isUuid } from "@bulkhead/inventory";
import { demandOf } from "@bulkhead/placement";
import type { Fault } from "./fault.ts";
import { shareMountFaults } from "./share-rules.ts";
import { networkFaults } from "./network-rules.ts";

/** Longest host name label (RFC 1123); an instance's name is its host name. */
const maximumNameLength = 63;

const nameFaults = (name: string, replicas: number): Fault[] => {
  if (isUuid(name)) {
    return [{ code: "REQUEST_INVALID", pointer: "/name", message: "must not have the form of an id" }];
  }
  const longest = instanceName(name, Math.max(0, replicas - 1));
  if (longest.length <= maximumNameLength) return [];
  return [
    {
      code: "REQUEST_INVALID",
      pointer: "/name",
      message: `is too long: its instances are named ${longest}, more than ${maximumNameLength} characters`,
    },
  ];
};

const pathFault = (pointer: string, path: string): Fault[] => {
  const parts = path.split("/").slice(1);
  if (parts.includes("..") || parts.includes(".")) {
    return [{ code: "REQUEST_INVALID", pointer, message: "must not have `.` or `..` in it" }];
  }
  if (path.includes("\0")) return [{ code: "REQUEST_INVALID", pointer, message: "must not have a NUL in it" }];
  return [];
};

/** One spelling of an absolute path, so that `/a//b/` and `/a/b` are the same target. */
const canonical = (path: string): string => `/${path.split("/").filter(Boolean).join("/")}`;

/** Where the runtime mounts its own file systems; a mount over them would take the instance apart. */
const reserved = ["/", "/proc", "/sys", "/dev"];

const mountFaults = (spec: WorkloadSpec): Fault[] => {
  const seen = new Map<string, number>();
  return (spec.mounts ?? []).flatMap(({ hostPath, path }, at): Fault[] => {
    const pointer = `/spec/mounts/${at}`;
    const target = canonical(path);
    const earlier = seen.get(target);
    seen.set(target, earlier ?? at);
    const clash = reserved.find((root) => target === root || (root !== "/" && target.startsWith(`${root}/`)));
    return [
      ...pathFault(`${pointer}/hostPath`, hostPath),
      ...pathFault(`${pointer}/path`, path),
      ...(earlier === undefined
        ? []
        : [
            {
              code: "REQUEST_INVALID" as const,
              pointer: `${pointer}/path`,
              message: `is the target of /spec/mounts/${earlier} too`,
            },
          ]),
      ...(clash === undefined
        ? []
        : [
            {
              code: "REQUEST_INVALID" as const,
              pointer: `${pointer}/path`,
              message: `must not cover ${clash}, which the runtime mounts itself`,
            },
          ]),
    ];
  });
};

const textFaults = (spec: WorkloadSpec): Fault[] => {
  const texts: [string, string][] = [
    ...(spec.command ?? []).map((text, at): [string, string] => [`/spec/command/${at}`, text]),
    ...(spec.args ?? []).map((text, at): [string, string] => [`/spec/args/${at}`, text]),
    ...Object.entries(spec.env ?? {}).map(([name, text]): [string, string] => [`/spec/env/${name}`, text]),
  ];
  const faults = texts
    .filter(([, text]) => text.includes("\0"))
    .map(([pointer]): Fault => ({ code: "REQUEST_INVALID", pointer, message: "must not have a NUL in it" }));
  if (spec.command?.length === 0) {
    faults.push({ code: "REQUEST_INVALID", pointer: "/spec/command", message: "must not be empty; leave it out" });
  }
  return faults;
};

const writableFaults = ({ container }: WorkloadSpec): Fault[] =>
  (container?.writable ?? []).flatMap((path, at) => pathFault(`/spec/container/writable/${at}`, path));

const isolationFaults = (spec: WorkloadSpec): Fault[] =>
  spec.isolation === "vm" && spec.container !== undefined
    ? [
        {
          code: "FIELD_NOT_APPLICABLE",
          pointer: "/spec/container",
          message: "exists for containers only; remove it or use isolation container",
        },
      ]
    : [];

/** Limits that contradict each other. */
export const limitFaults = ({ resources }: Pick<WorkloadSpec, "resources">): Fault[] => {
  const { cpuMillis, cpuLimitMillis, memoryBytes, memoryReservationBytes } = resources;
  const faults: Fault[] = [];
  if (cpuLimitMillis !== undefined && cpuLimitMillis < cpuMillis) {
    faults.push({
      code: "LIMIT_INFEASIBLE",
      pointer: "/spec/resources/cpuLimitMillis",
      message: `is below cpuMillis (${cpuMillis})`,
      nearest: { cpuLimitMillis: cpuMillis },
    });
  }
  if (memoryReservationBytes !== undefined && memoryReservationBytes > memoryBytes) {
    faults.push({
      code: "LIMIT_INFEASIBLE",
      pointer: "/spec/resources/memoryReservationBytes",
      message: `is above memoryBytes (${memoryBytes})`,
      nearest: { memoryReservationBytes: memoryBytes },
    });
  }
  return faults;
};

export type LargestCapacity = Pick<Capacity, "cpuMillis" | "memoryBytes">;

/** Demands that no host could ever meet, however long one waits; without any host nothing is known. */
export const sizeFaults = (spec: WorkloadSpec, largest: LargestCapacity | undefined): Fault[] => {
  if (largest === undefined) return [];
  const demand = demandOf(spec);
  const faults: Fault[] = [];
  if (demand.cpuMillis > largest.cpuMillis) {
    faults.push({
      code: "LIMIT_INFEASIBLE",
      pointer: "/spec/resources/cpuMillis",
      message: `needs ${demand.cpuMillis} cpuMillis; the largest host has ${largest.cpuMillis}`,
      nearest: { cpuMillis: largest.cpuMillis },
    });
  }
  if (demand.memoryBytes > largest.memoryBytes) {
    faults.push({
      code: "LIMIT_INFEASIBLE",
      pointer: "/spec/resources/memoryBytes",
      message: `needs ${demand.memoryBytes} bytes; the largest host has ${largest.memoryBytes}`,
      nearest: { memoryBytes: largest.memoryBytes },
    });
  }
  return faults;
};

/** Everything wrong with a new workload that can be told without the fleet. */
export const workloadFaults = ({ name, spec }: CreateWorkload): Fault[] => [
  ...nameFaults(name, spec.replicas ?? 1),
  ...isolationFaults(spec),
  ...textFaults(spec),
  ...mountFaults(spec),
  ...writableFaults(spec),
  ...shareMountFaults(spec),
  ...networkFaults(spec),
  ...limitFaults(spec),
];
