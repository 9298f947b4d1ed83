import type { CreateShare, ShareMount, WorkloadSpec } from "@bulkhead/contracts";
import { isUuid } from "@bulkhead/inventory";
import type { Fault } from "./fault.ts";

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

const canonical = (path: string): string => `/${path.split("/").filter(Boolean).join("/")}`;
const reserved = ["/", "/proc", "/sys", "/dev"];

/** Whether a path is a place where an instance can see a share; `/dev/shm` is checked against the kind later. */
const placeFault = (path: string, pointer: string): Fault[] => {
  const parts = path.split("/").slice(1);
  if (parts.includes("..") || parts.includes(".") || path.includes("\0")) {
    return [{ code: "REQUEST_INVALID", pointer, message: "must not have `.`, `..` or a NUL in it" }];
  }
  const target = canonical(path);
  if (target === "/dev/shm") return [];
  const clash = reserved.find((root) => target === root || (root !== "/" && target.startsWith(`${root}/`)));
  return clash === undefined
    ? []
    : [{ code: "REQUEST_INVALID", pointer, message: `must not cover ${clash}, which the runtime mounts itself` }];
};

/** What is wrong with the place of a share that is attached. */
export const attachFaults = ({ path }: Pick<ShareMount, "path">): Fault[] => placeFault(path, "/path");

/** What is wrong with the shares of a workload. */
export const shareMountFaults = (spec: WorkloadSpec): Fault[] => {
  const shares = spec.shares ?? [];
  if (shares.length > 0 && spec.isolation === "vm") {
    return [{ code: "FIELD_NOT_APPLICABLE", pointer: "/spec/shares", message: "exists for containers only, so far" }];
  }
  const places = new Map((spec.mounts ?? []).map(({ path }, at) => [canonical(path), `/spec/mounts/${at}`]));
  const names = new Map<string, string>();
  return shares.flatMap(({ share, path }, at): Fault[] => {
    const pointer = `/spec/shares/${at}`;
    const [place, name] = [places.get(canonical(path)), names.get(share)];
    places.set(canonical(path), place ?? pointer);
    names.set(share, name ?? pointer);
    const twice = (what: string, earlier: string | undefined): Fault[] =>
      earlier === undefined
        ? []
        : [{ code: "REQUEST_INVALID", pointer: `${pointer}/${what}`, message: `is that of ${earlier} too` }];
    return [...placeFault(path, `${pointer}/path`), ...twice("path", place), ...twice("share", name)];
  });
};
