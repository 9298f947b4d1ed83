import type { Assignment, Digest, InstanceId, WorkloadId } from "@bulkhead/contracts";

/** A virtual machine that its host is to run, of 256 MiB unless it is told otherwise. */
export const machineAssignment = (change: Partial<Assignment> = {}): Assignment => ({
  instanceId: "0198c0de-0000-7000-8000-000000000001" as InstanceId,
  workloadId: "0198c0de-3333-7000-8000-000000000001" as WorkloadId,
  project: "default",
  name: "web-0",
  isolation: "vm",
  generation: 1,
  epoch: { era: 1, n: 1 },
  desired: "running",
  restartRequest: 0,
  imageDigest: `sha256:${"0".repeat(64)}` as Digest,
  spec: { image: "app", resources: { cpuMillis: 1000, memoryBytes: 2 ** 28 } },
  cpuIds: [],
  ...change,
});
