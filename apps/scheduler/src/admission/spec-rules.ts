import {
  machineDirectoriesMax,
  minimumMachineBytes,
  type Capacity,
  type CreateWorkload,
  type WorkloadSpec,
} from "@bulkhead/contracts";
import { instanceName, isUuid } from "@bulkhead/inventory";
import { demandOf } from "@bulkhead/placement";
import type { Fault } from "./fault.ts";
import { networkFaults } from "./network-rules.ts";
import { pathFaults, seenFaults } from "./places.ts";
import { shareMountFaults } from "./share-rules.ts";
import { specSizeFaults } from "./spec-size.ts";

/** Longest host name label (RFC 1123); an instance's name is its host name. */
const maximumNameLength = 63;

/** What is wrong with a workload's name, of which so many instances' names are made. */
export const nameFaults = (name: string, replicas: number): Fault[] => {
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

const hostPathFaults = ({ mounts = [] }: WorkloadSpec): Fault[] =>
  mounts.flatMap(({ hostPath }, at) => pathFaults(`/spec/mounts/${at}/hostPath`, hostPath));

const commandFaults = ({ command }: WorkloadSpec): Fault[] =>
  command?.length === 0
    ? [{ code: "REQUEST_INVALID", pointer: "/spec/command", message: "must not be empty; leave it out" }]
    : [];

const writableFaults = ({ container }: WorkloadSpec): Fault[] =>
  (container?.writable ?? []).flatMap((path, at) => pathFaults(`/spec/container/writable/${at}`, path));

const notApplicable = (field: string, message: string): Fault => ({
  code: "FIELD_NOT_APPLICABLE",
  pointer: `/spec/${field}`,
  message,
});

/** What QEMU cannot hold. */
const engineFaults = ({ vm }: WorkloadSpec): Fault[] => {
  if (vm?.engine !== "qemu") return [];
  const message = "is held by the engine kvm only; leave the engine out or ask for kvm";
  return [
    ...(vm.memoryPolicy === "locked" ? [notApplicable("vm/memoryPolicy", message)] : []),
    ...(vm.hugepages === true ? [notApplicable("vm/hugepages", message)] : []),
  ];
};

/** A VM's directories are devices of its machine, which has room for so many. */
const machineShareFaults = ({ mounts = [], shares = [] }: WorkloadSpec): Fault[] => {
  const count = mounts.length + shares.length;
  if (count <= machineDirectoriesMax) return [];
  const message = `has with mounts ${count} directories; a VM sees at most ${machineDirectoriesMax} of its host`;
  return [notApplicable("shares", message)];
};

/** Fields that a VM does not have by its nature, and those that it alone has. */
const isolationFaults = (spec: WorkloadSpec): Fault[] => {
  if (spec.isolation !== "vm") {
    const message = "exists for VMs only; remove it or use isolation vm";
    return spec.vm === undefined ? [] : [notApplicable("vm", message)];
  }
  return [
    ...engineFaults(spec),
    ...(spec.vm?.restoredFrom === undefined
      ? []
      : [notApplicable("vm/restoredFrom", "is set by restoring a snapshot: POST /v1/snapshots/{id}/restore")]),
    ...(spec.container === undefined
      ? []
      : [notApplicable("container", "exists for containers only; remove it or use isolation container")]),
    ...machineShareFaults(spec),
  ];
};

/** Limits that contradict each other, or that nothing starts in. */
export const limitFaults = ({ isolation, resources }: Pick<WorkloadSpec, "isolation" | "resources">): Fault[] => {
  const { cpuMillis, cpuLimitMillis, memoryBytes, memoryReservationBytes } = resources;
  const faults: Fault[] = [];
  if (isolation === "vm" && memoryBytes < minimumMachineBytes) {
    faults.push({
      code: "LIMIT_INFEASIBLE",
      pointer: "/spec/resources/memoryBytes",
      message: "is too small for a VM, which holds a kernel of its own",
      nearest: { memoryBytes: minimumMachineBytes },
    });
  }
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
  ...specSizeFaults(spec),
  ...isolationFaults(spec),
  ...commandFaults(spec),
  ...hostPathFaults(spec),
  ...seenFaults(spec),
  ...writableFaults(spec),
  ...shareMountFaults(spec),
  ...networkFaults(spec),
  ...limitFaults(spec),
];
