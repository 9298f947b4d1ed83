import type { Epoch, ReportBatch } from "@bulkhead/contracts";
import type { Database, Sql } from "../database.ts";
import { moveEvents } from "./events.ts";
import { foldInstance, type InstanceRow, type ReportEvent } from "./fold-instance.ts";
import * as statements from "./fold-statements.ts";
import { assertLeading } from "./leadership.ts";
import { markCorruptSnapshots } from "./corrupt-snapshots.ts";
import {
  acknowledgementsOf,
  agentsOf,
  movePositions,
  queuesOf,
  type Acknowledgement,
  type AgentQueue,
} from "./fold-positions.ts";

export interface FoldResult {
  readonly acknowledgements: readonly Acknowledgement[];
  /** reports written; repeated ones do not count */
  readonly folded: number;
  /** reports that contradict the row's state: told, acknowledged, not written */
  readonly illegal: number;
  /** ids of workloads and instances whose operations may be finished now */
  readonly touched: readonly string[];
  /** something was freed: instances without a host may have one now */
  readonly freed: boolean;
}

/** What an agent says to have ended for good. */
interface Gone {
  readonly hostId: string;
  readonly isolation: string;
  readonly instanceId: string;
  readonly epoch: Epoch;
}

interface Changes {
  readonly rows: Map<string, InstanceRow>;
  readonly changed: Set<string>;
  readonly events: { readonly row: InstanceRow; readonly event: ReportEvent }[];
  readonly gone: Gone[];
  illegal: number;
}

const fold = (queues: readonly AgentQueue[], known: ReadonlyMap<string, InstanceRow>): Changes => {
  const changes: Changes = { rows: new Map(known), changed: new Set(), events: [], gone: [], illegal: 0 };
  for (const { hostId, isolation, reports } of queues) {
    for (const report of reports) {
      const row = changes.rows.get(report.instanceId);
      if (report.state === "gone") {
        changes.gone.push({ hostId, isolation, instanceId: report.instanceId, epoch: report.epoch });
        continue;
      }
      // An agent speaks only for what is assigned to it; for endings, the assignment itself says to whom.
      if (row === undefined || row.hostId !== hostId || row.isolation !== isolation) continue;
      const folded = foldInstance(row, report);
      if (folded.kind === "illegal") changes.illegal += 1;
      if (folded.kind !== "changed") continue;
      changes.rows.set(row.id, folded.row);
      changes.changed.add(row.id);
      for (const event of folded.events) changes.events.push({ row, event });
    }
  }
  return changes;
};

const writeRows = (sql: Sql, rows: readonly InstanceRow[]): Promise<number> =>
  sql.count(statements.updateInstances, [
    rows.map((row) => row.id),
    rows.map((row) => row.state),
    rows.map((row) => row.attempt),
    rows.map((row) => row.restarts),
    rows.map((row) => row.reason),
    rows.map((row) => row.detail),
    rows.map((row) => (row.exit === null ? null : JSON.stringify(row.exit))),
    rows.map((row) => (row.resize === null ? null : JSON.stringify(row.resize))),
    rows.map((row) => row.contractHeld),
    rows.map((row) => row.seenGeneration),
    rows.map((row) => row.startedAt),
    rows.map((row) => (row.machine === null ? null : JSON.stringify(row.machine))),
  ]);

const writeEvents = (sql: Sql, events: Changes["events"]): Promise<number> =>
  sql.count(statements.insertEvents, [
    events.map(({ event }) => event.type),
    events.map(({ row }) => row.project),
    events.map(({ row }) => row.workloadId),
    events.map(({ row }) => row.id),
    events.map(({ row }) => row.hostId),
    events.map(({ event }) => event.at),
    events.map(({ event }) => JSON.stringify(event.data)),
    events.map(({ event }) => event.traceId),
  ]);

/** Resolves to the instances whose assignments ended and the workloads of those that are removed. */
const endAssignments = async (sql: Sql, gone: readonly Gone[]): Promise<string[]> => {
  const ended = await sql.rows(statements.endAssignments, [
    gone.map(({ instanceId }) => instanceId),
    gone.map(({ epoch }) => epoch.era),
    gone.map(({ epoch }) => epoch.n),
    gone.map(({ hostId }) => hostId),
    gone.map(({ isolation }) => isolation),
  ]);
  const workloadIds = [...new Set(ended.flatMap((row) => row.workloadId ?? []))];
  if (workloadIds.length > 0) await sql.rows(statements.deleteWorkloads, [workloadIds]);
  return [...ended.map((row) => row.instanceId), ...workloadIds];
};

const foldOnce = async (sql: Sql, batches: readonly ReportBatch[], term: number): Promise<FoldResult> => {
  const ids = [...new Set(batches.flatMap((batch) => batch.reports.map((report) => report.instanceId)))];
  const [, locked, positions] = await Promise.all([
    assertLeading(sql, term),
    sql.rows(statements.lockInstances, [ids]),
    sql.rows(statements.selectPositions, agentsOf(batches)),
  ]);
  const queues = queuesOf(batches, positions);
  const known = new Map(locked.map((row) => [row.id, { ...row, startedAt: row.startedAt?.toISOString() ?? null }]));
  const changes = fold(queues, known);
  const changed = [...changes.changed].flatMap((id) => changes.rows.get(id) ?? []);
  const writes = [
    changed.length === 0 ? 0 : writeRows(sql, changed),
    changes.events.length === 0 ? 0 : writeEvents(sql, changes.events),
    movePositions(sql, queues),
    markCorruptSnapshots(sql, changed),
  ] as const;
  // Without an ending there is nothing to wait for before the events are moved: all of it is one round trip.
  const [ended] =
    changes.gone.length === 0
      ? [[], ...(await Promise.all([...writes, moveEvents(sql)]))]
      : await Promise.all([endAssignments(sql, changes.gone), ...writes]);
  if (changes.gone.length > 0) await moveEvents(sql);
  return {
    acknowledgements: acknowledgementsOf(queues),
    folded: queues.reduce((total, queue) => total + queue.reports.length, 0),
    illegal: changes.illegal,
    touched: [...new Set([...changed.flatMap((row) => [row.id, row.workloadId]), ...ended])],
    freed: ended.length > 0,
  };
};

/**
 * Moves the position of an agent past reports that cannot be kept, which are lost with this: else nothing that comes
 * after them would ever be folded. Rejects as foldReports does.
 */
export const passReports = (
  database: Database,
  term: number,
  batch: ReportBatch,
): Promise<readonly Acknowledgement[]> =>
  database.transaction(async (sql) => {
    const [, positions] = await Promise.all([
      assertLeading(sql, term),
      sql.rows(statements.selectPositions, agentsOf([batch])),
    ]);
    const queues = queuesOf([batch], positions);
    await movePositions(sql, queues);
    return acknowledgementsOf(queues);
  });

/**
 * Writes what agents report, in one transaction: rows, events and how far each journal is folded. The same batch again
 * changes nothing. Publishes waiting events as well. Rejects NotLeading, DATABASE_UNAVAILABLE: then nothing is written
 * and nothing may be acknowledged.
 */
export const foldReports = (database: Database, term: number, batches: readonly ReportBatch[]): Promise<FoldResult> =>
  database.transaction((sql) => foldOnce(sql, batches, term));
