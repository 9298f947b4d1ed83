import { Type, type Static } from "typebox";
import { Epoch, HostId, InstanceId, integerMax, Isolation, Name, Timestamp, WorkloadId } from "./ids.ts";
import { ExitStatus, InstanceReason, InstanceState, ResizeStatus } from "./instance.ts";
import { InstanceMachine } from "./machine.ts";

const closed = { additionalProperties: false } as const;

/** What an agent observed about one run; kept on the host's disk until the scheduler says it is in Postgres. */
export const InstanceReport = Type.Object(
  {
    seq: Type.Integer({
      minimum: 1,
      maximum: Number.MAX_SAFE_INTEGER,
      description: "the agent's journal number; acknowledged by it",
    }),
    journal: Type.String({ maxLength: 255, description: "id of the agent's journal, new when its disk is new" }),
    instanceId: InstanceId,
    epoch: Epoch,
    attempt: Type.Integer({ minimum: 0, maximum: integerMax }),
    generation: Type.Integer({ minimum: 1, maximum: integerMax }),
    state: Type.Union([InstanceState, Type.Literal("gone")], {
      description: "gone: ended by a tombstone and cleaned up",
    }),
    reason: Type.Union([InstanceReason, Type.Null()]),
    detail: Type.Union([Type.String({ maxLength: 4096 }), Type.Null()]),
    exit: Type.Union([ExitStatus, Type.Null()]),
    resize: Type.Union([ResizeStatus, Type.Null()]),
    contractHeld: Type.Union([Type.Boolean(), Type.Null()]),
    restarts: Type.Integer({ minimum: 0, maximum: integerMax }),
    machine: Type.Optional(InstanceMachine),
    at: Timestamp,
    traceparent: Type.Optional(Type.String({ maxLength: 255 })),
  },
  closed,
);
export type InstanceReport = Static<typeof InstanceReport>;

export const ReportBatch = Type.Object(
  {
    hostId: HostId,
    isolation: Isolation,
    reports: Type.Array(InstanceReport, {
      minItems: 1,
      maxItems: 500,
      description:
        "without gaps, beginning with the oldest that is not acknowledged: what is missing before it was acknowledged, so a later batch never overtakes a lost one",
    }),
  },
  closed,
);
export type ReportBatch = Static<typeof ReportBatch>;

export const ReportAck = Type.Object({ journal: Type.String(), upToSeq: Type.Integer({ minimum: 0 }) }, closed);
export type ReportAck = Static<typeof ReportAck>;

export const eventTypes = [
  "workload.created",
  "workload.updated",
  "workload.deleted",
  "instance.created",
  "instance.placed",
  "instance.unplaceable",
  "instance.state",
  "instance.resized",
  "instance.contract",
  "instance.removed",
  "host.joined",
  "host.state",
  "image.imported",
  "image.pulled",
  "image.layer",
  "share.created",
  "share.deleted",
  "share.attached",
  "share.detached",
  "snapshot.created",
  "snapshot.corrupt",
  "snapshot.deleted",
  "operation.finished",
  "cluster.era",
] as const;

/** Public event; `id` is a Postgres sequence assigned in commit order, so watchers resume from it. */
export const Event = Type.Object(
  {
    id: Type.Integer({ minimum: 1 }),
    type: Type.Enum(eventTypes),
    project: Type.Union([Name, Type.Null()]),
    workloadId: Type.Union([WorkloadId, Type.Null()]),
    instanceId: Type.Union([InstanceId, Type.Null()]),
    hostId: Type.Union([HostId, Type.Null()]),
    at: Timestamp,
    data: Type.Record(Type.String(), Type.Unknown()),
    traceId: Type.Union([Type.String(), Type.Null()]),
  },
  { ...closed, $id: "Event" },
);
export type Event = Static<typeof Event>;
export type EventType = (typeof eventTypes)[number];
