import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { spreadChildren } from "@bulkhead/native-namespaces";
import { readBootId } from "./boot.ts";
import type { HostPaths } from "./paths.ts";

/**
 * Makes the per-boot directory (root only). What an earlier boot left is emptied first: /run is usually a tmpfs, but
 * nothing here may depend on it, since a stale status file would name processes that are gone.
 */
export const openRunDirectory = async (paths: HostPaths): Promise<void> => {
  await mkdir(paths.run, { recursive: true, mode: 0o700 });
  const marker = join(paths.run, `boot-id.${paths.isolation}`);
  const bootId = readBootId();
  const written = await readFile(marker, "utf8").catch(() => null);
  if (written?.trim() !== bootId) {
    const stale = [paths.runInstances, paths.leasePage];
    await Promise.all(stale.map((path) => rm(path, { recursive: true, force: true })));
    await writeFile(marker, `${bootId}\n`, { mode: 0o600 });
  }
  await mkdir(paths.runInstances, { recursive: true, mode: 0o700 });
  await mkdir(paths.cpus, { recursive: true, mode: 0o700 });
};

/** Makes the host's persistent directories (root only) and sweeps nothing: what is there belongs to instances. */
export const openStateDirectory = async (paths: HostPaths): Promise<void> => {
  for (const directory of [paths.state, paths.images, paths.instances, paths.shares, paths.uidRanges, paths.trash]) {
    await mkdir(directory, { recursive: true, mode: 0o700 });
  }
  spreadChildren(paths.instances);
};
