import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { dirname } from "node:path";
import type { InstanceId } from "@bulkhead/contracts";
import { cgroupOfRun, type CgroupParents } from "@bulkhead/host";
import { killAll, NativeError, removeCgroup, type CgroupPlacement } from "@bulkhead/native-namespaces";
import { parseRunName } from "./instance-paths.ts";
import type { RuntimeLog } from "./ports.ts";

/** Ends what a start that was cut off left in its cgroup, and removes it; one that was never made is none. */
export const endLeftover = async (cgroup: CgroupPlacement): Promise<void> => {
  try {
    killAll(cgroup);
  } catch (error) {
    if (!(error instanceof NativeError && error.code === "ENOENT")) throw error;
  }
  await removeCgroup(cgroup);
};

const isNameOfRun = (name: string): boolean => {
  const dot = name.indexOf(".");
  return dot > 0 && parseRunName(name.slice(dot + 1)) !== null;
};

/** Cgroups of runs below this host's parents, by the run's name; of each the directories that are there. */
const findRunCgroups = async (parents: CgroupParents): Promise<Map<string, CgroupPlacement[]>> => {
  const found = new Map<string, CgroupPlacement[]>();
  // The two places of a run: among those that share CPUs, and among those with CPUs of their own.
  for (const dedicated of [false, true]) {
    const directories = new Set(Object.values(cgroupOfRun(parents, "any", dedicated)).map((path) => dirname(path)));
    const names = await Promise.all([...directories].map((directory) => readdir(directory).catch(() => [])));
    for (const name of new Set(names.flat().filter(isNameOfRun))) {
      const paths = Object.entries(cgroupOfRun(parents, name, dedicated)).filter(([, path]) => existsSync(path));
      // A shim whose agent died undoes its work at this moment, perhaps.
      if (paths.length > 0) found.set(name, [...(found.get(name) ?? []), { paths: Object.fromEntries(paths) }]);
    }
  }
  return found;
};

/**
 * Ends what has no record. A process is born in its cgroup before its run has one, so what a start leaves whose agent
 * and shim were both killed is found only by its cgroup's name. `isKnown` is asked right before each is ended.
 */
export const endUnrecorded = async (
  parents: CgroupParents,
  { isKnown, log }: { isKnown: (instanceId: InstanceId, name: string) => boolean; log: RuntimeLog },
): Promise<void> => {
  for (const [name, places] of await findRunCgroups(parents)) {
    const instanceId = name.slice(0, name.indexOf(".")) as InstanceId;
    if (isKnown(instanceId, name)) continue;
    for (const place of places) await endLeftover(place);
    log.warn({ instanceId, run: name }, "a process without a record was ended");
  }
};
