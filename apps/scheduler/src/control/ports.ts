import type { Bus } from "@bulkhead/bus";
import type { ControlStore } from "@bulkhead/inventory";

/** The part of the bus that control speaks. */
export type ControlBus = Pick<Bus, "publish" | "subscribe" | "respond" | "request" | "consume">;

export interface ControlLog {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** What control counts; the names and units are the metric catalogue's. */
export interface ControlMeters {
  placementDuration(seconds: number, outcome: "placed" | "stale" | "unplaceable"): void;
  placements(count: number, outcome: "placed" | "stale" | "unplaceable"): void;
  reportsFolded(count: number): void;
  outboxPending(rows: number): void;
}

export interface ControlPorts {
  readonly store: ControlStore;
  readonly bus: ControlBus;
  readonly log: ControlLog;
  readonly meters?: ControlMeters;
  /** monotonic, in milliseconds */
  readonly nowMs: () => number;
  /** events have their public numbers now: whoever waits for some should look */
  readonly onEvents?: () => void;
}

/** Times of the control loop, in milliseconds. */
export interface ControlTimes {
  /** the leader's lease; renewed at a third, given up a fifth early by the monotonic clock */
  readonly leaseTtlMs: number;
  /** how often the database is asked for work that nobody in this process announced */
  readonly pulseMs: number;
  /** how often all running operations are looked at, whatever was reported */
  readonly settleMs: number;
  /** without a heartbeat: doubtful, then unknown */
  readonly suspectAfterMs: number;
  readonly unknownAfterMs: number;
  /** how often silence is looked for */
  readonly watchMs: number;
  /** allowance for clocks that run at different rates, over the lease of an instance */
  readonly driftMs: number;
  /** a new leader, or a new era, places nothing until every ready agent has accounted for its runs, or for this long */
  readonly takeoverGraceMs: number;
  /** heartbeats that arrive together are looked at together */
  readonly heartbeatFlushMs: number;
  /** last_seen_at is written this often while nothing else changes */
  readonly lastSeenMs: number;
  readonly retentionMs: number;
}

/** The design's figures. */
export const defaultTimes: ControlTimes = {
  leaseTtlMs: 10_000,
  pulseMs: 500,
  settleMs: 2_000,
  suspectAfterMs: 10_000,
  unknownAfterMs: 30_000,
  watchMs: 1_000,
  driftMs: 2_000,
  takeoverGraceMs: 10_000,
  heartbeatFlushMs: 20,
  lastSeenMs: 30_000,
  retentionMs: 60_000,
};

/** What is the same for one term of leadership. */
export interface Term {
  readonly term: number;
  readonly clusterId: string;
  /** false from the moment the lease may be over; checked before anything is promised */
  readonly valid: () => boolean;
  /** of the monotonic clock */
  readonly startedAtMs: number;
}
