import { accessSync, constants, existsSync, readFileSync, statfsSync } from "node:fs";
import { readdir, rmdir } from "node:fs/promises";
import { basename, join } from "node:path";
import type { Assignment, InstanceId } from "@bulkhead/contracts";
import { openMountArea, type HostPaths } from "@bulkhead/host";
import { StartFailure } from "@bulkhead/node";
import { scratchOf } from "./instance-paths.ts";
import { makeImage, mountImage, unmount } from "./shares/file-systems.ts";

/** Where Debian has it; the agent's own PATH says nothing about that. */
const mkfsPlaces = ["/usr/sbin/mkfs.ext4", "/sbin/mkfs.ext4"];

const canRun = (path: string): boolean => {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
};

/** Why this host cannot limit what an instance writes to its root; null when it can. */
export const scratchDiskProblem = (): string | null => {
  if (!existsSync("/dev/loop-control")) return "there are no loop devices, so resources.diskBytes cannot be enforced";
  if (!/\text4$/m.test(readFileSync("/proc/filesystems", "utf8")))
    return "the kernel has no ext4, so resources.diskBytes cannot be enforced";
  if (!mkfsPlaces.some(canRun)) return "mkfs.ext4 is missing (e2fsprogs), so resources.diskBytes cannot be enforced";
  return null;
};

type Limited = Pick<Assignment, "instanceId" | "imageDigest" | "isolation" | "spec">;

/** Most that an instance may write to its root; undefined: as much as the host has. A machine has a disk of its own. */
const limitOf = ({ isolation, spec }: Limited): number | undefined =>
  isolation === "container" ? spec.resources.diskBytes : undefined;

/** How full a file system is, in bytes. */
export interface Fullness {
  readonly usedBytes: number;
  readonly totalBytes: number;
}

const fullnessOf = (path: string): Fullness => {
  const { bsize, blocks, bfree } = statfsSync(path);
  return { usedBytes: (blocks - bfree) * bsize, totalBytes: blocks * bsize };
};

/**
 * Writable layers that are file systems of their own, because the instance may write so much and no more: an ext4 in a
 * sparse file beside its other files, by a loop device at `$RUN/disks/INSTANCE/IMAGE`. It stays mounted until the instance
 * is removed, since a file that two loop devices write to is lost.
 */
export class ScratchDisks {
  readonly #paths: Pick<HostPaths, "runDisks" | "instances">;

  constructor(paths: Pick<HostPaths, "runDisks" | "instances">) {
    this.#paths = paths;
  }

  get #root(): string {
    return this.#paths.runDisks;
  }

  /** Where the instance's writable layer is, or will be. */
  placeOf(assignment: Limited): string {
    const { instanceId, imageDigest } = assignment;
    const scratch = scratchOf(this.#paths, instanceId, imageDigest);
    return limitOf(assignment) === undefined ? scratch : join(this.#root, instanceId, basename(scratch));
  }

  /** Makes it ready; nothing to do for one without a limit. Rejects StartFailure DiskFull. */
  async open(assignment: Limited): Promise<void> {
    const diskBytes = limitOf(assignment);
    if (diskBytes === undefined) return;
    try {
      await openMountArea(this.#root);
      const image = join(scratchOf(this.#paths, assignment.instanceId, assignment.imageDigest), "disk");
      await makeImage(image, diskBytes);
      await mountImage(image, this.placeOf(assignment));
    } catch (cause) {
      throw new StartFailure(
        "DiskFull",
        `its writable layer of ${diskBytes} bytes: ${(cause as Error).message}`,
        cause,
      );
    }
  }

  /** How full it is; null without a limit, or when it is not there. */
  fullness(assignment: Limited): Fullness | null {
    if (limitOf(assignment) === undefined) return null;
    const place = this.placeOf(assignment);
    return existsSync(place) ? fullnessOf(place) : null;
  }

  /** Why the root of a process is not what it was promised to be; null when it is. */
  violation(assignment: Limited, pid: number): string | null {
    const limit = limitOf(assignment);
    if (limit === undefined) return null;
    const { totalBytes } = fullnessOf(`/proc/${pid}/root/`);
    return totalBytes <= limit ? null : `its root has room for ${totalBytes} bytes, promised ${limit}`;
  }

  /** Lets go of an instance's, which must not run any more. */
  async close(instanceId: string): Promise<void> {
    const directory = join(this.#root, instanceId);
    if (!existsSync(directory)) return;
    for (const name of await readdir(directory)) await unmount(join(directory, name));
    await rmdir(directory).catch(() => undefined);
  }

  /** Lets go of those whose instances are not here. */
  async closeAbsent(isPresent: (instanceId: InstanceId) => boolean): Promise<void> {
    if (!existsSync(this.#root)) return;
    for (const name of (await readdir(this.#root)) as InstanceId[]) if (!isPresent(name)) await this.close(name);
  }
}
