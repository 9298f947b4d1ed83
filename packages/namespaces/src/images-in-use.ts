import { readdir } from "node:fs/promises";
import type { Digest, InstanceId } from "@bulkhead/contracts";
import type { HostPaths } from "@bulkhead/host";
import { imageOfScratch, instancePaths } from "./instance-paths.ts";

/** Images that instances of this host run or would run when they start again: their scratch directories name them. */
export const imagesInUse = async (paths: HostPaths): Promise<Set<Digest>> => {
  const inUse = new Set<Digest>();
  for (const instanceId of (await readdir(paths.instances)) as InstanceId[]) {
    const names = await readdir(instancePaths(paths, instanceId).scratches).catch(() => []);
    for (const name of names) {
      const image = imageOfScratch(name);
      if (image !== null) inUse.add(image);
    }
  }
  return inUse;
};
