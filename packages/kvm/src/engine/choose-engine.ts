import type { Assignment } from "@bulkhead/contracts";
import { StartFailure } from "@bulkhead/node";
import { sharedDirectories } from "../shared-directories.ts";
import type { Engine } from "./engine.ts";

export interface HostEngines {
  /** the best first */
  readonly usable: readonly Engine[];
  /** why others are not */
  readonly problems: readonly string[];
}

/** The one that a workload asks for, or the best. Throws StartFailure when this host has none. Pure. */
export const chooseEngine = ({ usable, problems }: HostEngines, assignment: Assignment): Engine => {
  const { engine: wanted, memoryPolicy, hugepages } = assignment.spec.vm ?? {};
  const found = wanted === undefined ? usable[0] : usable.find(({ name }) => name === wanted);
  if (found !== undefined) {
    if (!found.holdsShares && sharedDirectories(assignment).length > 0) {
      const what = `the engine ${found.name} cannot let a machine see shares and directories of this host`;
      throw new StartFailure("RuntimeFailed", what);
    }
    if (found.holdsPlaces || (memoryPolicy !== "locked" && hugepages !== true)) return found;
    const what = `the engine ${found.name} cannot lock a machine's memory or give it large pages`;
    throw new StartFailure("ResourceExhausted", what);
  }
  const what = wanted === undefined ? "no engine for virtual machines" : `no engine ${wanted}`;
  throw new StartFailure("RuntimeFailed", `this host has ${what}: ${problems.join("; ")}`);
};
