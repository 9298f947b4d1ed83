import { readdir } from "node:fs/promises";
import type { Digest, InstanceId } from "@bulkhead/contracts";
import type { HostPaths } from "@bulkhead/host";
import { imageOfScratch, instancePaths } from "./instance-paths.ts";

/** Images that instances of this host run or would run when they start again: their scratch directories name them. */
export const imagesInUse = async (paths: HostPaths): Promise<Set<Digest>> => {
  const inUse = new Set<Digest>();
  // The layers are both agents', and neither may collect what the other's instances need.
  for (const instances of Object.values(paths.instancesOf)) {
    for (const instanceId of (await readdir(instances).catch(() => [])) as InstanceId[]) {
      const names = await readdir(instancePaths({ ...paths, instances }, instanceId).scratches).catch(() => []);
      for (const image of names.map(imageOfScratch)) if (image !== null) inUse.add(image);
    }
  }
  return inUse;
};
