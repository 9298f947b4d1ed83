import { randomBytes } from "node:crypto";
import { type EventType, uuidV7 } from "@bulkhead/contracts";
import { type Sql, statement } from "../database.ts";

/** Who changes something and on which request's behalf; goes into audit rows, events and operations. */
export interface Change {
  readonly tokenId: string;
  readonly project: string;
  readonly traceId: string | null;
  /** W3C trace context that agents continue */
  readonly traceparent: string | null;
}

/** UUIDv7, so that rows sort by creation. */
export const newId = (): string => uuidV7(Date.now(), randomBytes(10));

const insertAudit = statement(
  "api_audit_insert",
  `INSERT INTO audit (token_id, verb, project, target, data) VALUES ($1, $2, $3, $4, $5)`,
);

/** Ids for rows made together, in the order in which they sort: those of one millisecond differ only by chance. */
export const newIds = (count: number): string[] => Array.from({ length: count }, newId).sort();

/** Writes who did what; call it in the transaction it describes. */
export const audit = async (
  sql: Sql,
  change: Pick<Change, "tokenId"> & { readonly project: string | null },
  entry: { verb: string; target: string; data?: object },
): Promise<void> => {
  await sql.count(insertAudit, [
    change.tokenId,
    entry.verb,
    change.project,
    entry.target,
    JSON.stringify(entry.data ?? {}),
  ]);
};

/** A public event before the leader's folder gives it its number. */
export interface NewEvent {
  readonly type: EventType;
  readonly workloadId?: string;
  readonly instanceId?: string;
  readonly hostId?: string;
  readonly data?: object;
}

const insertEvents = statement(
  "api_events_insert",
  `INSERT INTO event_inbox (type, project, workload_id, instance_id, host_id, data, trace_id)
   SELECT e.type, $1, e.workload_id, e.instance_id, e.host_id, e.data, $2
   FROM unnest($3::text[], $4::uuid[], $5::uuid[], $6::uuid[], $7::jsonb[])
     AS e(type, workload_id, instance_id, host_id, data)`,
);

/** Writes events; `project` null for what belongs to the whole fleet. */
export const appendEvents = async (
  sql: Sql,
  origin: { readonly project: string | null; readonly traceId: string | null },
  events: readonly NewEvent[],
): Promise<void> => {
  if (events.length === 0) return;
  await sql.count(insertEvents, [
    origin.project,
    origin.traceId,
    events.map((event) => event.type),
    events.map((event) => event.workloadId ?? null),
    events.map((event) => event.instanceId ?? null),
    events.map((event) => event.hostId ?? null),
    events.map((event) => JSON.stringify(event.data ?? {})),
  ]);
};
