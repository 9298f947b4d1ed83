import type { CreateShare, ShareMount, WorkloadSpec } from "@bulkhead/contracts";
import { isUuid } from "@bulkhead/inventory";
import type { Fault } from "./fault.ts";
import { placeFaults } from "./places.ts";

/** Paths with a meaning of their own below /v1/shares. */
const reservedNames = ["graph"];

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
  return faults;
};

/** What is wrong with the place of a share that is attached; `/dev/shm` is checked against the kind later. */
export const attachFaults = ({ path }: Pick<ShareMount, "path">): Fault[] =>
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
