import type {
  Assignment,
  ClusterId,
  Digest,
  Epoch,
  HostFacts,
  HostId,
  InstanceId,
  WorkloadId,
  WorkloadSpec,
} from "@bulkhead/contracts";

/** The nth instance id of a test. */
export const instanceId = (n: number): InstanceId =>
  `0198c0de-0000-7000-8000-${n.toString(16).padStart(12, "0")}` as InstanceId;

export const hostId = "0198c0de-1111-7000-8000-000000000001" as HostId;
export const clusterId = "0198c0de-2222-7000-8000-000000000001" as ClusterId;
export const otherClusterId = "0198c0de-2222-7000-8000-000000000002" as ClusterId;

export const epoch = (n: number, era = 1): Epoch => ({ era, n });

export const spec = (over: Partial<WorkloadSpec> = {}): WorkloadSpec => ({
  image: "fake",
  command: ["sleep"],
  resources: { cpuMillis: 100, memoryBytes: 64 * 1024 * 1024 },
  ...over,
});

type AssignmentFields = Partial<Omit<Assignment, "spec" | "epoch">> & {
  n?: number;
  epoch?: Epoch;
  spec?: Partial<WorkloadSpec>;
};

/** An assignment with defaults; `n` names the instance. */
export const assignment = ({ n = 1, spec: wanted, ...over }: AssignmentFields = {}): Assignment => ({
  instanceId: instanceId(n),
  workloadId: "0198c0de-3333-7000-8000-000000000001" as WorkloadId,
  workload: "shop",
  project: "default",
  name: `web-${n}`,
  isolation: "container",
  generation: 1,
  epoch: epoch(1),
  desired: "running",
  restartRequest: 0,
  imageDigest: `sha256:${"0".repeat(64)}` as Digest,
  cpuIds: [],
  ...over,
  spec: spec(wanted),
});

export const hostFacts: HostFacts = {
  hostname: "test",
  kernel: "test",
  architecture: "x86_64",
  cgroupMode: "hybrid",
  capacity: { cpuMillis: 2_000, memoryBytes: 2 ** 32, cpuCount: 2, instancesMax: 1_000 },
  enforceable: [],
  mountAllowList: [],
  problems: [],
};
