import { Type, type Static } from "typebox";
import { Digest, HostId, InstanceId, Name, SnapshotId, Timestamp } from "./ids.ts";
import { MachineEngine } from "./machine.ts";
import { Problem } from "./problem.ts";
import { WorkloadSpec } from "./workload.ts";

const closed = { additionalProperties: false } as const;

export const snapshotStates = ["creating", "ready", "corrupt", "failed", "deleting"] as const;

/** A machine as it was at one moment: memory, processors and disk, in files of its host. */
export const Snapshot = Type.Object(
  {
    id: SnapshotId,
    project: Name,
    workloadName: Name,
    instanceId: Type.String({ ...InstanceId, description: "of which it was taken; that one may be gone" }),
    instanceName: Name,
    imageDigest: Digest,
    spec: Type.Object(WorkloadSpec.properties, { ...closed, description: "of the instance when it was taken" }),
    hostId: HostId,
    hostName: Type.String(),
    engine: Type.Union([MachineEngine, Type.Null()], { description: "null until it is ready" }),
    sizeBytes: Type.Union([Type.Integer({ minimum: 0 }), Type.Null()], {
      description: "what its files take of the host's disk; null until it is ready",
    }),
    state: Type.Enum(snapshotStates, {
      description:
        "corrupt: a file of it is not what was written; failed: it was not taken, and goes when its host has removed what was begun; deleting: its host is to remove the files",
    }),
    problem: Type.Union([Problem, Type.Null()], { description: "why it is corrupt or failed" }),
    copies: Type.Integer({
      minimum: 0,
      description: "instances that were made from it; it is not deleted before them",
    }),
    createdAt: Timestamp,
  },
  { ...closed, $id: "Snapshot" },
);
export type Snapshot = Static<typeof Snapshot>;

export const RestoreSnapshot = Type.Object(
  {
    copies: Type.Optional(Type.Integer({ minimum: 1, maximum: 10_000, default: 1 })),
    name: Type.Optional(
      Type.String({ ...Name, description: "of the workload that they are; default: made from the snapshot's" }),
    ),
  },
  {
    ...closed,
    $id: "RestoreSnapshot",
    description: "copies run on the snapshot's host; each goes on where it was, with a name and addresses of its own",
  },
);
export type RestoreSnapshot = Static<typeof RestoreSnapshot>;

export const TakeSnapshot = Type.Object({ instanceId: InstanceId, snapshotId: SnapshotId }, closed);
export type TakeSnapshot = Static<typeof TakeSnapshot>;

/** State of processors and devices is of some ten KiB; the longest that a monitor of ours writes is 8 MiB (state_file.h). */
export const snapshotStateBytesMax = 8 * 2 ** 20;

/** What an agent has taken; asked again it says the same. */
export const TakenSnapshot = Type.Object(
  {
    engine: MachineEngine,
    sizeBytes: Type.Integer({
      minimum: 0,
      maximum: Number.MAX_SAFE_INTEGER,
      description: "what its files take of the host's disk",
    }),
    copyBytes: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: Number.MAX_SAFE_INTEGER,
        description: "what the disk of each copy takes of the host's when it begins",
      }),
    ),
    stoodStillMs: Type.Integer({ minimum: 0, description: "how long no process of the instance ran" }),
  },
  closed,
);
export type TakenSnapshot = Static<typeof TakenSnapshot>;

export const VerifySnapshot = Type.Object({ snapshotId: SnapshotId }, closed);
export type VerifySnapshot = Static<typeof VerifySnapshot>;

export const RemoveSnapshot = Type.Object({ snapshotId: SnapshotId }, closed);
export type RemoveSnapshot = Static<typeof RemoveSnapshot>;
