import type { WorkloadSpec } from "@bulkhead/contracts";
import type { Fault } from "./fault.ts";

/** One spelling of an absolute path, so that `/a//b/` and `/a/b` are the same place. */
const canonical = (path: string): string => `/${path.split("/").filter(Boolean).join("/")}`;

/** Where the runtime mounts its own file systems; a mount over them would take the instance apart. */
const reserved = ["/", "/proc", "/sys", "/dev"];
/** The one place below them that may be covered: POSIX shared memory (shm_open(3)) looks nowhere else. */
const sharedMemoryPath = "/dev/shm";

const fault = (pointer: string, message: string): Fault => ({ code: "REQUEST_INVALID", pointer, message });

/** What is wrong with a path, wherever it leads. */
export const pathFaults = (pointer: string, path: string): Fault[] => {
  const parts = path.split("/").slice(1);
  return parts.includes("..") || parts.includes(".") ? [fault(pointer, "must not have `.` or `..` in it")] : [];
};

/** What is wrong with a path as a place in an instance where something is to be seen. */
export const placeFaults = (pointer: string, path: string, { memory }: { readonly memory: boolean }): Fault[] => {
  const wrong = pathFaults(pointer, path);
  const target = canonical(path);
  if (wrong.length > 0 || (memory && target === sharedMemoryPath)) return wrong;
  const clash = reserved.find((root) => target === root || (root !== "/" && target.startsWith(`${root}/`)));
  return clash === undefined ? [] : [fault(pointer, `must not cover ${clash}, which the runtime mounts itself`)];
};

/** What is wrong with the places of everything that an instance is to see: bad ones, and those wanted twice. */
export const seenFaults = (spec: WorkloadSpec): Fault[] => {
  const taken = new Map<string, string>();
  return (["mounts", "tmpfs", "shares"] as const).flatMap((field) =>
    (spec[field] ?? []).flatMap(({ path }, at) => {
      if (path === undefined) return [];
      const own = `/spec/${field}/${at}`;
      const target = canonical(path);
      const earlier = taken.get(target);
      taken.set(target, earlier ?? own);
      return [
        // Of which kind a share is, and so whether it is memory, is known later.
        ...placeFaults(`${own}/path`, path, { memory: field !== "mounts" }),
        ...(earlier === undefined ? [] : [fault(`${own}/path`, `is the place of ${earlier} too`)]),
      ];
    }),
  );
};
