import { Type, type Static } from "typebox";
import { HostId, InstanceId, Isolation, Timestamp } from "./ids.ts";

const closed = { additionalProperties: false } as const;

/** Usage of one instance between two samples; `at` is the later one's. */
export const UsageWindowPoint = Type.Object(
  {
    at: Timestamp,
    cpuMillis: Type.Integer({ description: "thousandths of a CPU" }),
    throttledMillis: Type.Integer({ description: "milliseconds per second it wanted to run and might not" }),
    memoryBytes: Type.Integer(),
    pids: Type.Integer(),
    ioReadBytesPerSecond: Type.Integer(),
    ioWriteBytesPerSecond: Type.Integer(),
  },
  closed,
);
export type UsageWindowPoint = Static<typeof UsageWindowPoint>;

/** The last ten minutes of one instance, oldest first. */
export const UsageWindowItem = Type.Object(
  {
    instanceId: InstanceId,
    project: Type.String(),
    workload: Type.String(),
    name: Type.String(),
    hostId: HostId,
    hostName: Type.String(),
    isolation: Isolation,
    memoryLimitBytes: Type.Union([Type.Integer(), Type.Null()]),
    contractHeld: Type.Boolean(),
    lastSeenAt: Timestamp,
    points: Type.Array(UsageWindowPoint),
  },
  closed,
);
export type UsageWindowItem = Static<typeof UsageWindowItem>;

/** Answer of the metrics service's `GET /v1/usage`: the most recently seen instances first, `total` of them in all. */
export const UsageWindows = Type.Object(
  { items: Type.Array(UsageWindowItem), total: Type.Integer({ minimum: 0 }) },
  closed,
);
export type UsageWindows = Static<typeof UsageWindows>;
