import { readFileSync } from "node:fs";
import { arch, hostname } from "node:os";
import { enforceableFields, namespaceShareField, type EnforceableField, type HostFacts } from "@bulkhead/contracts";
import type { CgroupLayout, CgroupParents, MountAllowList } from "@bulkhead/host";
import { readCapacity } from "@bulkhead/host";
import type { HostFeatures } from "@bulkhead/native-namespaces";
import type { Enforcement } from "./resources.ts";

export interface FactsInput {
  readonly layout: CgroupLayout;
  readonly parents: CgroupParents;
  readonly features: HostFeatures;
  readonly enforcement: Enforcement;
  readonly mountAllowList: MountAllowList;
  /** why no instance's writable layer can be limited; null when it can */
  readonly diskProblem: string | null;
  /** the kernel has nftables */
  readonly networks: boolean;
  /** instances may have the host's own network */
  readonly hostNetwork: boolean;
}

/** cgroup controller that each field of the spec needs. */
const controllerOf: Readonly<Partial<Record<EnforceableField, string>>> = {
  "resources.cpuMillis": "cpu",
  "resources.cpuLimitMillis": "cpu",
  "resources.cpuPolicy": "cpuset",
  "resources.memoryBytes": "memory",
  "resources.memoryReservationBytes": "memory",
  "resources.pidsMax": "pids",
  "resources.io.readBytesPerSec": "io",
  "resources.io.writeBytesPerSec": "io",
  "resources.io.readOpsPerSec": "io",
  "resources.io.writeOpsPerSec": "io",
  "resources.io.weight": "io",
};

const isEnforceable = (field: EnforceableField, input: FactsInput): boolean => {
  const { parents, enforcement, features, networks } = input;
  if (field === "container.writable") return features.writeConfinement;
  if (field === "resources.diskBytes") return input.diskProblem === null;
  if (field === namespaceShareField) return features.userNamespaces;
  // Networks need no controller, but nftables in the kernel.
  return (
    (controllerOf[field] === undefined ? networks : parents.controllers.has(controllerOf[field])) &&
    (!field.startsWith("resources.io.") || enforcement.disk !== null) &&
    (field !== "resources.io.weight" || enforcement.ioWeight)
  );
};

/** What this host is and can enforce, from the kernel's own answers. */
export const hostFacts = (input: FactsInput): HostFacts => ({
  hostname: hostname(),
  kernel: readFileSync("/proc/sys/kernel/osrelease", "utf8").trim(),
  architecture: arch() === "x64" ? "amd64" : arch(),
  cgroupMode: input.parents.mode,
  capacity: readCapacity(input.layout),
  enforceable: enforceableFields.filter((field) => isEnforceable(field, input)),
  mountAllowList: [...input.mountAllowList.directories],
  ...(input.hostNetwork ? { hostNetwork: true } : {}),
  problems: [
    ...new Set([
      ...input.features.problems,
      ...input.parents.problems,
      ...(input.diskProblem === null ? [] : [input.diskProblem]),
    ]),
  ],
});
