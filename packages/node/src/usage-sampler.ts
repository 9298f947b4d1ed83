import type { UsageSample } from "@bulkhead/contracts";
import type { InstanceDriver } from "./instance.ts";
import type { Log } from "./log.ts";

/** One sample of an instance that runs here; null when nothing of it runs or its cgroup just went. */
export const sampleOf = ({ record }: InstanceDriver, log: Log): UsageSample | null => {
  const held = record.adopted;
  if (held === undefined) return null;
  const { assignment } = held.run;
  try {
    return {
      instanceId: record.instanceId,
      project: assignment.project,
      workload: assignment.workload ?? assignment.workloadId,
      name: assignment.name,
      ...held.run.usage(),
      // What was not proved is not claimed.
      contractHeld: record.contractHeld === true,
    };
  } catch (error) {
    log.debug({ instanceId: record.instanceId, err: error }, "usage not sampled");
    return null;
  }
};
