import { statement, type Sql } from "../database.ts";

/** Advisory lock of whoever moves events, so that their numbers rise in the order of commits. */
const eventLock = 0x62_68_65_76;

// A statement of its own: the move's snapshot must be taken when the lock is held.
const lockEvents = statement("control_events_lock", `SELECT pg_advisory_xact_lock(${eventLock})`);

const moveRows = statement(
  "control_events_move",
  `WITH moved AS (
     DELETE FROM event_inbox WHERE seq IN (SELECT seq FROM event_inbox ORDER BY seq LIMIT $1)
     RETURNING seq, type, project, workload_id, instance_id, host_id, at, data, trace_id
   )
   INSERT INTO event (type, project, workload_id, instance_id, host_id, at, data, trace_id)
   SELECT type, project, workload_id, instance_id, host_id, at, data, trace_id FROM moved ORDER BY seq`,
);

/** Events moved in one transaction at most; the rest comes with the next. */
const eventsPerMove = 10_000;

/**
 * Publishes events: gives them their public numbers in a transaction that has checked leadership. Nothing else writes
 * `event`, so a watcher that has seen a number has seen all before it. Resolves to how many there were.
 */
export const moveEvents = async (sql: Sql): Promise<number> => {
  const [, moved] = await Promise.all([sql.count(lockEvents), sql.count(moveRows, [eventsPerMove])]);
  return moved;
};
