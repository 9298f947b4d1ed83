import type { Assignment, BindMount, WorkloadSpec } from "@bulkhead/contracts";
import type { MountAllowList } from "@bulkhead/host";
import { StartFailure } from "@bulkhead/node";
import { knownCapabilities } from "./capabilities.ts";
import { admitPlace } from "./places.ts";

/** A bind mount this host's own configuration allows; the kernel keeps it beneath `root`. */
export interface AdmittedMount {
  readonly hostPath: string;
  readonly path: string;
  readonly readOnly: boolean;
  readonly root: string;
}

const admit = (mount: BindMount, allowed: MountAllowList): AdmittedMount => {
  const root = allowed.rootOf(mount.hostPath);
  if (root === null) {
    const list = allowed.directories.length === 0 ? "is empty" : `has ${allowed.directories.join(", ")}`;
    throw new StartFailure(
      "MountNotAllowed",
      `"${mount.hostPath}" is not below an allowed directory of this host; its list ${list} (BULKHEAD_MOUNT_ALLOW)`,
    );
  }
  const path = admitPlace(mount.path, "a mount", { memory: false });
  return { hostPath: mount.hostPath, path, readOnly: mount.readOnly ?? true, root };
};

/**
 * Checks a spec against what only this host knows. Throws StartFailure: MountNotAllowed, or RuntimeFailed for a
 * capability that does not exist.
 */
export const admitMounts = (spec: WorkloadSpec, allowed: MountAllowList): AdmittedMount[] => {
  const unknown = spec.container?.capabilities?.find((name) => !knownCapabilities.has(name));
  if (unknown !== undefined) throw new StartFailure("RuntimeFailed", `${unknown} is no capability of Linux`);
  return (spec.mounts ?? []).map((mount) => admit(mount, allowed));
};

/** A directory in memory that an instance has. */
export interface AdmittedTmpfs {
  readonly path: string;
  readonly sizeBytes: number;
  readonly mode: string;
  readonly executable: boolean;
}

/** Throws StartFailure MountNotAllowed for a place that cannot be. */
export const admitTmpfs = ({ tmpfs = [] }: WorkloadSpec): AdmittedTmpfs[] =>
  tmpfs.map(({ path, sizeBytes, mode = "1777", executable = false }) => ({
    path: admitPlace(path, "a tmpfs", { memory: true }),
    sizeBytes,
    mode,
    executable,
  }));

/**
 * Checks a network choice against what only this host knows. Throws StartFailure: NetworkNotAllowed, or NetworkFailed
 * for a named network without addresses in it, which only an older control plane sends.
 */
export const admitNetwork = ({ spec, network }: Assignment, hostNetwork: boolean): void => {
  const choice = spec.network ?? "none";
  if (choice === "host" && !hostNetwork) {
    throw new StartFailure(
      "NetworkNotAllowed",
      "this host's own configuration does not let instances have its network (BULKHEAD_HOST_NETWORK)",
    );
  }
  if (choice !== "none" && choice !== "host" && network === undefined) {
    throw new StartFailure("NetworkFailed", `the assignment names network "${choice}" and has no address in it`);
  }
};
