import type { OomKill } from "@bulkhead/contracts";
import { readUsage, type CgroupPlacement } from "@bulkhead/native-namespaces";
import { runName } from "./instance-paths.ts";
import type { KernelLog } from "./kernel-log.ts";
import { keyOf, type RunRecord } from "./run-record.ts";

/** What a run used of its memory, from its cgroup and from the kernel's log. */
export const oomOf = (log: KernelLog, cgroup: CgroupPlacement, record: RunRecord): OomKill => {
  const { memoryPeakBytes, memoryLimitBytes, oomKills } = readUsage(cgroup);
  const key = keyOf(record);
  const victim = log.victimsIn(`${key.instanceId}.${runName(key)}`).at(-1);
  return {
    limitBytes: memoryLimitBytes ?? record.assignment.spec.resources.memoryBytes,
    peakBytes: memoryPeakBytes,
    kills: oomKills,
    processName: victim?.name ?? null,
    processRssBytes: victim?.rssBytes ?? null,
  };
};
