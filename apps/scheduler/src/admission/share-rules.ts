import {
  hasOwnNetwork,
  type AttachShare,
  type CreateShare,
  type SharedNamespaceType,
  type ShareKind,
  type WorkloadSpec,
} from "@bulkhead/contracts";
import { isUuid } from "@bulkhead/inventory";
import type { Fault } from "./fault.ts";
import { placeFaults } from "./places.ts";

/** Paths with a meaning of their own below /v1/shares. */
const reservedNames = ["graph"];

const invalid = (pointer: string, message: string): Fault => ({ code: "REQUEST_INVALID", pointer, message });

/** Fields that one kind has and others do not. */
const namespaceFaults = ({ kind, namespaces, sizeBytes, owner, mode, lifetime }: CreateShare["spec"]): Fault[] => {
  if (kind !== "namespace") {
    return namespaces === undefined ? [] : [invalid("/spec/namespaces", "is for a share of kind namespace")];
  }
  const fixed = { owner, mode, ...(lifetime === "kept" ? { lifetime } : {}) };
  return [
    ...(namespaces === undefined ? [invalid("/spec/namespaces", "must say which namespaces")] : []),
    ...(sizeBytes === undefined || namespaces?.includes("ipc") === true
      ? []
      : [invalid("/spec/sizeBytes", "is the size of /dev/shm, which comes with ipc")]),
    ...Object.entries(fixed)
      .filter(([, value]) => value !== undefined)
      .map(([field]) => invalid(`/spec/${field}`, "is not for namespaces: they last as long as their users")),
  ];
};

/** What is wrong with a new share that can be told without the fleet. */
export const shareFaults = ({ name, spec }: CreateShare): Fault[] => {
  const faults: Fault[] = [];
  if (isUuid(name) || reservedNames.includes(name)) {
    faults.push({
      code: "REQUEST_INVALID",
      pointer: "/name",
      message: "must not be `graph` or have the form of an id",
    });
  }
  if (spec.kind === "socket-directory" && spec.sizeBytes !== undefined) {
    faults.push({
      code: "REQUEST_INVALID",
      pointer: "/spec/sizeBytes",
      message: "is for directories and shared memory; sockets take no room",
    });
  }
  return [...faults, ...namespaceFaults(spec)];
};

/** What is wrong with the place of a share that is attached; `/dev/shm` is checked against the kind later. */
export const attachFaults = ({ path }: Pick<AttachShare, "path">): Fault[] =>
  placeFaults("/path", path, { memory: true });

/** A share that a workload names twice. */
export const shareMountFaults = ({ shares = [] }: WorkloadSpec): Fault[] => {
  const names = new Map<string, string>();
  return shares.flatMap(({ share }, at): Fault[] => {
    const pointer = `/spec/shares/${at}`;
    const earlier = names.get(share);
    names.set(share, earlier ?? pointer);
    return earlier === undefined
      ? []
      : [{ code: "REQUEST_INVALID", pointer: `${pointer}/share`, message: `is that of ${earlier} too` }];
  });
};

/** What is known of a share that a workload names. */
export interface KnownShare {
  readonly kind: ShareKind;
  readonly namespaces: readonly SharedNamespaceType[] | null;
}

const sharedMemoryPath = "/dev/shm";

/** A shared network namespace has one link at most, which the user brings who names a network. */
const sharedNetworkFaults = (spec: WorkloadSpec): Fault[] => {
  if (spec.network === "host") {
    return [invalid("/spec/network", "cannot be host: its network namespace is the one it shares")];
  }
  if (!hasOwnNetwork(spec) || (spec.replicas ?? 1) <= 1) return [];
  return [invalid("/spec/replicas", "is 1 at most: one instance can connect the network namespace that it shares")];
};

/** What of a workload does not fit a share of kind namespace that it names. */
const memberFaults = (spec: WorkloadSpec, pointer: string, namespaces: readonly SharedNamespaceType[]): Fault[] => {
  const faults: Fault[] = [];
  if (spec.isolation === "vm") {
    const message = "is namespaces of the host's kernel, which a VM does not run on";
    faults.push({ code: "FIELD_NOT_APPLICABLE", pointer: `${pointer}/share`, message });
  }
  if (namespaces.includes("network")) faults.push(...sharedNetworkFaults(spec));
  if (namespaces.includes("ipc")) {
    const taken = (["tmpfs", "shares"] as const).flatMap((field) =>
      (spec[field] ?? []).flatMap(({ path }, at) => (path === sharedMemoryPath ? [`/spec/${field}/${at}/path`] : [])),
    );
    faults.push(...taken.map((at) => invalid(at, "is where the memory is that comes with the shared ipc namespace")));
  }
  return faults;
};

/** What a VM cannot see. Memory is of one kernel: a guest's is another, and could only be shown a copy. */
const machineFaults = (kind: ShareKind, pointer: string): Fault[] => {
  if (kind !== "shared-memory") return [];
  const message = "is memory of the host's kernel, of which a VM's programs can have a copy only";
  return [{ code: "FIELD_NOT_APPLICABLE", pointer: `${pointer}/share`, message }];
};

/** What is wrong with a workload's shares that only their kinds tell. */
export const shareKindFaults = (spec: WorkloadSpec, known: ReadonlyMap<string, KnownShare>): Fault[] => {
  let member: string | undefined;
  return (spec.shares ?? []).flatMap(({ share, path, readOnly }, at): Fault[] => {
    const found = known.get(share);
    const pointer = `/spec/shares/${at}`;
    if (found === undefined) return [];
    if (found.kind !== "namespace") {
      if (path === undefined) return [invalid(`${pointer}/path`, "must say where the instance sees it")];
      const unseen = spec.isolation === "vm" ? machineFaults(found.kind, pointer) : [];
      if (unseen.length > 0) return unseen;
      if (path !== sharedMemoryPath || found.kind === "shared-memory") return [];
      return [invalid(`${pointer}/path`, "is for a share of kind shared-memory only")];
    }
    const faults = memberFaults(spec, pointer, found.namespaces ?? []);
    if (path !== undefined) faults.push(invalid(`${pointer}/path`, "is not for namespaces: they are at no path"));
    else if (readOnly !== undefined) faults.push(invalid(`${pointer}/readOnly`, "is not for namespaces"));
    if (member !== undefined) {
      faults.push(
        invalid(`${pointer}/share`, `is namespaces as that of ${member}, and an instance has one range of ids`),
      );
    }
    member ??= pointer;
    return faults;
  });
};
