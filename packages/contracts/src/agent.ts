import { Type, type Static } from "typebox";
import { ClusterId, Epoch, HostId, InstanceId, integerMax, Isolation, Timestamp } from "./ids.ts";
import { HostFacts } from "./host.ts";
import { Assignment, Tombstone } from "./instance.ts";

const closed = { additionalProperties: false } as const;

/** Position of a host's desired-state document: equal positions with equal digests mean the same document. */
export const DocumentPosition = Type.Object(
  {
    clusterId: ClusterId,
    era: Type.Integer({ minimum: 1, maximum: integerMax }),
    version: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }),
  },
  closed,
);
export type DocumentPosition = Static<typeof DocumentPosition>;

/** How far a document was read: the row that its next page follows, and what must not have changed until then. */
export const DocumentPlace = Type.Object(
  {
    era: DocumentPosition.properties.era,
    compacted: Type.Integer({
      minimum: 0,
      maximum: Number.MAX_SAFE_INTEGER,
      description: "rows left it at this version",
    }),
    version: Type.Integer({
      minimum: 0,
      maximum: Number.MAX_SAFE_INTEGER,
      description: "in which the row changed; rows are told in this order",
    }),
    instanceId: InstanceId,
    epoch: Epoch,
  },
  closed,
);
export type DocumentPlace = Static<typeof DocumentPlace>;

/** What should run on one host by one agent, whole (`since` 0) or what changed after `since`; or a page of that. */
export const DesiredDocument = Type.Object(
  {
    position: DocumentPosition,
    since: Type.Integer({ minimum: 0 }),
    digest: Type.String({ description: "documentDigest() of the whole document" }),
    assignments: Type.Array(Assignment),
    tombstones: Type.Array(Tombstone),
    next: Type.Optional(DocumentPlace),
  },
  closed,
);
export type DesiredDocument = Static<typeof DesiredDocument>;

/**
 * A number that an agent claims may be where ours go on from: half of what its column holds leaves room for them, whatever
 * a hostile host says.
 */
const claimedEra = 2 ** 30;
const ClaimedPosition = Type.Object(
  {
    ...DocumentPosition.properties,
    era: Type.Integer({ minimum: 1, maximum: claimedEra }),
    version: Type.Integer({ minimum: 0, maximum: 2 ** 52 }),
  },
  closed,
);
const ClaimedEpoch = Type.Object(
  { era: Type.Integer({ minimum: 1, maximum: claimedEra }), n: Type.Integer({ minimum: 1, maximum: 2 ** 30 }) },
  closed,
);

export const FetchDesired = Type.Object(
  {
    have: Type.Union([ClaimedPosition, Type.Null()]),
    after: Type.Optional(
      Type.Union([DocumentPlace, Type.Null()], {
        description:
          "the page after this place, null: the first one; the pages up to the one without `next` are the document of " +
          "the last one's position. Absent, as agents of the version before have it: everything in one answer",
      }),
    ),
  },
  closed,
);
export type FetchDesired = Static<typeof FetchDesired>;

export const DesiredChanged = Type.Object({ position: DocumentPosition }, closed);
export type DesiredChanged = Static<typeof DesiredChanged>;

export const Heartbeat = Type.Object(
  {
    hostId: HostId,
    isolation: Isolation,
    bootId: Type.String({ maxLength: 255 }),
    sentAtBoottimeNs: Type.String({
      pattern: "^[0-9]+$",
      description: "CLOCK_BOOTTIME of the host when sent; a lease counts from it",
    }),
    position: Type.Union([ClaimedPosition, Type.Null()]),
    digest: Type.Union([Type.String(), Type.Null()]),
    facts: HostFacts,
    instances: Type.Integer({ minimum: 0 }),
    unknown: Type.Array(Type.Object({ instanceId: InstanceId, name: Type.String(), epoch: ClaimedEpoch }, closed), {
      maxItems: 1000,
    }),
    highestEra: Type.Integer({ minimum: 0, maximum: claimedEra }),
  },
  closed,
);
export type Heartbeat = Static<typeof Heartbeat>;

/** Leader's answer to a heartbeat; extends the host's lease when `granted`. */
export const LeaseGrant = Type.Object(
  {
    term: Type.Integer({ minimum: 1 }),
    sentAtBoottimeNs: Type.String({ pattern: "^[0-9]+$", description: "copied from the heartbeat it answers" }),
    granted: Type.Boolean(),
    refetch: Type.Boolean({ description: "the host's document digest differs from the control plane's" }),
  },
  closed,
);
export type LeaseGrant = Static<typeof LeaseGrant>;

const streamBase = {
  streamId: Type.String({ pattern: "^[0-9a-f-]{36}$" }),
  url: Type.String({ description: "WebSocket the agent opens outbound" }),
  token: Type.String({ description: "good once, for this stream" }),
  instanceId: InstanceId,
};

export const OpenExec = Type.Object(
  {
    ...streamBase,
    command: Type.Array(Type.String({ maxLength: 131_072 }), { minItems: 1, maxItems: 1024 }),
    env: Type.Optional(Type.Record(Type.String(), Type.String())),
    workingDir: Type.Optional(Type.String({ pattern: "^/" })),
    user: Type.Optional(Type.String({ maxLength: 255 })),
    tty: Type.Boolean(),
    rows: Type.Optional(Type.Integer({ minimum: 1, maximum: 10_000 })),
    columns: Type.Optional(Type.Integer({ minimum: 1, maximum: 10_000 })),
  },
  closed,
);
export type OpenExec = Static<typeof OpenExec>;

export const OpenLogs = Type.Object(
  {
    ...streamBase,
    follow: Type.Boolean(),
    tailLines: Type.Optional(Type.Integer({ minimum: 0, maximum: 1_000_000 })),
    since: Type.Optional(Timestamp),
  },
  closed,
);
export type OpenLogs = Static<typeof OpenLogs>;

export const SignalInstance = Type.Object(
  { instanceId: InstanceId, signal: Type.Integer({ minimum: 1, maximum: 64 }) },
  closed,
);
export type SignalInstance = Static<typeof SignalInstance>;

export const Accepted = Type.Object({}, closed);

const Stalls = Type.Object(
  {
    someAvg10Percent: Type.Number({ description: "of the last ten seconds in which some of its work waited" }),
    someTotalUs: Type.Integer(),
    fullAvg10Percent: Type.Number({ description: "and in which all of it waited" }),
    fullTotalUs: Type.Integer(),
  },
  closed,
);

/** How long work waited for each resource (the kernel's pressure stall information). */
const Pressure = Type.Object({ cpu: Stalls, memory: Stalls, io: Stalls }, closed);
export type Pressure = Static<typeof Pressure>;

/** Usage of one instance since its start (counters) or now (gauges), read from its cgroup. */
export const UsageSample = Type.Object(
  {
    instanceId: InstanceId,
    project: Type.String(),
    workload: Type.String(),
    name: Type.String(),
    cpuUsageNs: Type.Integer(),
    throttledNs: Type.Integer(),
    throttledPeriods: Type.Integer(),
    memoryBytes: Type.Integer(),
    memoryPeakBytes: Type.Integer(),
    memoryLimitBytes: Type.Union([Type.Integer(), Type.Null()]),
    pids: Type.Integer(),
    oomKills: Type.Integer(),
    ioReadBytes: Type.Integer(),
    ioWriteBytes: Type.Integer(),
    ioReadOps: Type.Integer(),
    ioWriteOps: Type.Integer(),
    diskUsedBytes: Type.Optional(Type.Integer()),
    diskLimitBytes: Type.Optional(Type.Integer()),
    pressure: Type.Optional(Pressure),
    contractHeld: Type.Boolean(),
  },
  closed,
);
export type UsageSample = Static<typeof UsageSample>;

export const UsageBatch = Type.Object(
  {
    hostId: HostId,
    hostName: Type.String(),
    isolation: Isolation,
    at: Timestamp,
    host: Type.Object(
      {
        cpuBusyNs: Type.Integer(),
        cpuStealNs: Type.Integer(),
        memoryUsedBytes: Type.Integer(),
        memoryTotalBytes: Type.Integer(),
        instances: Type.Integer(),
      },
      closed,
    ),
    instances: Type.Array(UsageSample),
  },
  closed,
);
export type UsageBatch = Static<typeof UsageBatch>;
