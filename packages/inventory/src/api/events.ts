import { type Event, type EventType, fleetError } from "@bulkhead/contracts";
import { type Sql, statement } from "../database.ts";

interface EventRow extends Omit<Event, "at"> {
  readonly at: Date;
}

const columns = `id, type, project, workload_id AS "workloadId", instance_id AS "instanceId", host_id AS "hostId",
  at, data, trace_id AS "traceId"`;

const toEvent = (row: EventRow): Event => ({ ...row, at: row.at.toISOString() });

const selectAfter = statement<EventRow>(
  "api_events_after",
  `SELECT ${columns} FROM event WHERE id > $1 ORDER BY id LIMIT $2`,
);

/** Events after a cursor in order of their numbers, of all projects. */
export const eventsAfter = async (sql: Sql, cursor: number, limit: number): Promise<Event[]> =>
  (await sql.rows(selectAfter, [cursor, limit])).map(toEvent);

export interface EventFilter {
  /** null: of all projects and of the fleet itself */
  readonly project: string | null;
  readonly types?: readonly EventType[];
  readonly workloadId?: string;
  readonly instanceId?: string;
  readonly hostId?: string;
}

const selectMatching = statement<EventRow>(
  "api_events_matching",
  `SELECT ${columns} FROM event
   WHERE id > $1 AND ($3::text IS NULL OR project = $3) AND ($4::text[] IS NULL OR type = ANY($4))
     AND ($5::uuid IS NULL OR workload_id = $5) AND ($6::uuid IS NULL OR instance_id = $6)
     AND ($7::uuid IS NULL OR host_id = $7) AND id <= $8
   ORDER BY id LIMIT $2`,
);

/** Matching events between a cursor and `upTo`, both of them numbers that were seen. */
export const matchingEvents = async (
  sql: Sql,
  range: { readonly after: number; readonly upTo: number; readonly limit: number },
  filter: EventFilter,
): Promise<Event[]> => {
  const rows = await sql.rows(selectMatching, [
    range.after,
    range.limit,
    filter.project,
    filter.types === undefined ? null : [...filter.types],
    filter.workloadId ?? null,
    filter.instanceId ?? null,
    filter.hostId ?? null,
    range.upTo,
  ]);
  return rows.map(toEvent);
};

/** True when the filter lets the event through; the same rule as `matchingEvents`. */
export const matches = (event: Event, filter: EventFilter): boolean =>
  (filter.project === null || event.project === filter.project) &&
  (filter.types === undefined || filter.types.includes(event.type)) &&
  (filter.workloadId === undefined || event.workloadId === filter.workloadId) &&
  (filter.instanceId === undefined || event.instanceId === filter.instanceId) &&
  (filter.hostId === undefined || event.hostId === filter.hostId);

const selectBounds = statement<{ lowest: number | null; highest: number | null }>(
  "api_events_bounds",
  `SELECT (SELECT id FROM event ORDER BY id LIMIT 1) AS lowest,
          (SELECT id FROM event ORDER BY id DESC LIMIT 1) AS highest`,
);

/** Number of the newest event, 0 when there is none. */
export const newestEvent = async (sql: Sql): Promise<number> => (await sql.rows(selectBounds))[0]?.highest ?? 0;

/**
 * Rejects CURSOR_EXPIRED when events after the cursor were removed by age, or when it lies in the future: then the
 * database was restored and numbers are given anew. Cursor 0 asks for whatever is kept.
 */
export const assertCursor = async (sql: Sql, cursor: number): Promise<void> => {
  if (cursor === 0) return;
  const { lowest, highest } = (await sql.rows(selectBounds))[0] ?? { lowest: null, highest: null };
  if (lowest !== null && highest !== null && cursor >= lowest - 1 && cursor <= highest) return;
  throw fleetError(
    "CURSOR_EXPIRED",
    `Events after ${cursor} are not kept (kept: ${lowest ?? "none"} to ${highest ?? "none"}). List the objects, then watch without a cursor.`,
  );
};
