import type { Assignment, BindMount, WorkloadSpec } from "@bulkhead/contracts";
import type { MountAllowList } from "@bulkhead/host";
import { StartFailure } from "@bulkhead/node";
import { knownCapabilities } from "./capabilities.ts";

/** A bind mount this host's own configuration allows; the kernel keeps it beneath `root`. */
export interface AdmittedMount {
  readonly hostPath: string;
  readonly path: string;
  readonly readOnly: boolean;
  readonly root: string;
}

/** Places in the container that its own kernel files stand on; a mount there would hide or fake them. */
const reserved = ["/proc", "/sys", "/dev"];

const admit = (mount: BindMount, allowed: MountAllowList): AdmittedMount => {
  const root = allowed.rootOf(mount.hostPath);
  if (root === null) {
    const list = allowed.directories.length === 0 ? "is empty" : `has ${allowed.directories.join(", ")}`;
    throw new StartFailure(
      "MountNotAllowed",
      `"${mount.hostPath}" is not below an allowed directory of this host; its list ${list} (BULKHEAD_MOUNT_ALLOW)`,
    );
  }
  const path = mount.path.replace(/\/+$/, "");
  if (path === "" || path.split("/").some((part) => part === "." || part === "..")) {
    throw new StartFailure("MountNotAllowed", `"${mount.path}" is no place for a mount inside the instance`);
  }
  const hidden = reserved.find((place) => path === place || path.startsWith(`${place}/`));
  if (hidden !== undefined) {
    throw new StartFailure("MountNotAllowed", `a mount on "${mount.path}" would cover the instance's own ${hidden}`);
  }
  return { hostPath: mount.hostPath, path, readOnly: mount.readOnly ?? true, root };
};

/**
 * Checks a spec against what only this host knows. Throws StartFailure: MountNotAllowed, or RuntimeFailed for a
 * capability that does not exist.
 */
export const admitMounts = (spec: WorkloadSpec, allowed: MountAllowList): AdmittedMount[] => {
  const unknown = spec.container?.capabilities?.find((name) => !knownCapabilities.has(name));
  if (unknown !== undefined) throw new StartFailure("RuntimeFailed", `${unknown} is no capability of Linux`);
  const mounts = (spec.mounts ?? []).map((mount) => admit(mount, allowed));
  const places = new Set<string>();
  for (const { path } of mounts) {
    if (places.has(path)) throw new StartFailure("MountFailed", `two mounts want the same place "${path}"`);
    places.add(path);
  }
  return mounts;
};

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
