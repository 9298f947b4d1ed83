import { Type, type Static } from "typebox";
import { Digest, Epoch, HostId, InstanceId, Isolation, Name, Timestamp, WorkloadId } from "./ids.ts";
import { InstanceMachine } from "./machine.ts";
import { AssignedNamespaces, AssignedShare } from "./share.ts";
import { AssignedNetwork } from "./network.ts";
import { Resources, WorkloadSpec } from "./workload.ts";

const closed = { additionalProperties: false } as const;

/** Every state an instance can be in; which moves are legal is `packages/lifecycle`'s table. */
export const instanceStates = [
  "pending",
  "assigned",
  "starting",
  "running",
  "paused",
  "stopping",
  "backoff",
  "stopped",
  "failed",
  "lost",
] as const;
export const InstanceState = Type.Enum(instanceStates);
export type InstanceState = (typeof instanceStates)[number];

/** What the user wants of an instance; the agent drives the actual state towards it. */
export const desiredStates = ["running", "paused", "stopped"] as const;
export const DesiredState = Type.Enum(desiredStates);
export type DesiredState = (typeof desiredStates)[number];

/** Why an instance left `running`, or never reached it. Closed list, so that dashboards and alerts can name each. */
export const instanceReasons = [
  "Exited",
  "OomKilled",
  "Signaled",
  "StoppedByUser",
  "LeaseExpired",
  "EntrypointNotFound",
  "EntrypointNotExecutable",
  "EntrypointWrongFormat",
  "ImageUnavailable",
  "ImageInvalid",
  "MountNotAllowed",
  "MountFailed",
  "ResourceExhausted",
  "DiskFull",
  "UserNotFound",
  "WorkingDirUnusable",
  "WritableUnusable",
  "RuntimeFailed",
  "HostRebooted",
  "Vanished",
  "CrashLoop",
  "NoCapacity",
  "Replaced",
  "NetworkNotAllowed",
  "NetworkFailed",
  "PortBusy",
  "SnapshotCorrupt",
] as const;
export const InstanceReason = Type.Enum(instanceReasons);
export type InstanceReason = (typeof instanceReasons)[number];

/** What a run used of its memory whose end was the kernel's doing. */
const OomKill = Type.Object(
  {
    limitBytes: Type.Integer({ description: "memory limit in force" }),
    peakBytes: Type.Integer({ description: "most that was in use at once; 0 where the kernel does not keep it" }),
    kills: Type.Integer({ description: "processes that the kernel killed for memory in this run" }),
    processName: Type.Union([Type.String(), Type.Null()], {
      description: "the last of them, by the kernel's log; null where the agent cannot read that",
    }),
    processRssBytes: Type.Union([Type.Integer(), Type.Null()], { description: "what that one held" }),
  },
  closed,
);
export type OomKill = Static<typeof OomKill>;

/** How one run (attempt) of an instance ended. */
export const ExitStatus = Type.Object(
  {
    exitCode: Type.Union([Type.Integer({ minimum: 0, maximum: 255 }), Type.Null()]),
    signal: Type.Union([Type.Integer({ minimum: 1, maximum: 64 }), Type.Null()]),
    oomKilled: Type.Boolean(),
    oom: Type.Optional(OomKill),
    startedAt: Timestamp,
    finishedAt: Timestamp,
  },
  closed,
);
export type ExitStatus = Static<typeof ExitStatus>;

/** Outcome of the newest resize, one per instance. */
export const ResizeStatus = Type.Object(
  {
    generation: Type.Integer(),
    outcome: Type.Union([Type.Literal("applied"), Type.Literal("deferred"), Type.Literal("infeasible")]),
    detail: Type.Optional(Type.String()),
  },
  closed,
);
export type ResizeStatus = Static<typeof ResizeStatus>;

export const Instance = Type.Object(
  {
    id: InstanceId,
    project: Name,
    workloadId: WorkloadId,
    workloadName: Name,
    name: Name,
    slot: Type.Integer({ minimum: 0 }),
    isolation: Isolation,
    generation: Type.Integer(),
    state: InstanceState,
    desired: DesiredState,
    hostId: Type.Union([HostId, Type.Null()]),
    hostName: Type.Union([Type.String(), Type.Null()]),
    epoch: Type.Union([Epoch, Type.Null()]),
    attempt: Type.Integer({ minimum: 0 }),
    restarts: Type.Integer({ minimum: 0 }),
    imageDigest: Digest,
    resources: Resources,
    reason: Type.Union([InstanceReason, Type.Null()]),
    detail: Type.Union([Type.String(), Type.Null()]),
    rejections: Type.Array(Type.Object({ hostId: HostId, hostName: Type.String(), reason: Type.String() }, closed), {
      description: "while pending: why each host cannot take it",
    }),
    exit: Type.Union([ExitStatus, Type.Null()]),
    resize: Type.Union([ResizeStatus, Type.Null()]),
    contractHeld: Type.Union([Type.Boolean(), Type.Null()], {
      description: "the node read the limits back from the kernel and they are as promised",
    }),
    network: Type.Optional(
      Type.Object(AssignedNetwork.properties, {
        ...closed,
        description: "addresses and published ports, while it has a host",
      }),
    ),
    machine: Type.Optional(InstanceMachine),
    createdAt: Timestamp,
    startedAt: Type.Union([Timestamp, Type.Null()]),
    version: Type.Integer({ description: "rises with every change; the ETag" }),
  },
  { ...closed, $id: "Instance" },
);
export type Instance = Static<typeof Instance>;

/** Everything an agent needs to run one instance; no look-up elsewhere. */
export const Assignment = Type.Object(
  {
    instanceId: InstanceId,
    workloadId: WorkloadId,
    workload: Type.Optional(
      Type.String({ ...Name, description: "the workload's name; absent in what a scheduler before it wrote" }),
    ),
    project: Name,
    name: Name,
    isolation: Isolation,
    generation: Type.Integer({ minimum: 1 }),
    epoch: Epoch,
    desired: DesiredState,
    restartRequest: Type.Integer({ minimum: 0, description: "rises with each restart a user asks for" }),
    imageDigest: Digest,
    spec: WorkloadSpec,
    cpuIds: Type.Array(Type.Integer({ minimum: 0 })),
    shares: Type.Optional(Type.Array(AssignedShare)),
    namespaces: Type.Optional(AssignedNamespaces),
    network: Type.Optional(AssignedNetwork),
    traceparent: Type.Optional(Type.String()),
  },
  closed,
);
export type Assignment = Static<typeof Assignment>;

/** Explicit order to end (instance, epoch); an agent never ends anything without one. */
export const Tombstone = Type.Object(
  { instanceId: InstanceId, epoch: Epoch, graceMs: Type.Integer({ minimum: 0 }) },
  closed,
);
export type Tombstone = Static<typeof Tombstone>;
