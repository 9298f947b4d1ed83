import { HostCpus, usableCpus, type CgroupParents, type CpuUser, type HostPaths } from "@bulkhead/host";
import type { Assignment } from "@bulkhead/contracts";
import { StartFailure, type JailedRun } from "@bulkhead/node";
import { runPaths } from "./instance-paths.ts";
import type { RuntimeLog } from "./ports.ts";
import { keyOf, type RunRecord } from "./run-record.ts";
import { hasSharers } from "./sharers.ts";

/** Whether an instance has CPUs of its own. */
export const isDedicated = ({ spec }: Assignment): boolean => spec.resources.cpuPolicy === "dedicated";

/** How a run counts for the CPUs of its host. */
export const cpuUserOf = (
  host: HostPaths,
  run: Pick<RunRecord, "assignment" | "attempt" | "cgroup" | "cpuIds" | "sharesCpus">,
): CpuUser => {
  const { name, runDir } = runPaths(host, keyOf(run));
  return {
    isolation: host.isolation,
    name: `${run.assignment.instanceId}.${name}`,
    dedicated: isDedicated(run.assignment),
    cpuIds: [...run.cpuIds],
    sharesToo: run.sharesCpus ?? false,
    cpuset: run.cgroup["cpuset"] ?? run.cgroup["unified"] ?? null,
    runDir,
  };
};

export interface CpuSharingParts {
  readonly paths: HostPaths;
  readonly parents: CgroupParents;
  /** of this agent; each hears of every change */
  readonly runs: () => Iterable<Pick<JailedRun, "onCpusChanged">>;
  readonly log: RuntimeLog;
}

/** The CPUs of this host, as this agent's runs share them with each other and with those of the other agent. */
export const shareCpus = ({ paths, parents, runs, log }: CpuSharingParts): HostCpus => {
  const { container, vm } = paths.runInstancesOf;
  return new HostCpus({
    paths,
    parents,
    online: usableCpus(),
    othersShare: () => hasSharers(paths.isolation === "vm" ? container : vm),
    changed: () => {
      for (const run of runs()) run.onCpusChanged?.();
    },
    // Whoever checks a contract finds what it lacks.
    failed: (err) => log.warn({ err }, "CPUs not shared as they should be"),
  });
};

/** Throws StartFailure for a problem. */
export const refuseFor = (problem: string | null): void => {
  if (problem !== null) throw new StartFailure("ResourceExhausted", problem);
};
