import type { Epoch, ReportBatch } from "@bulkhead/contracts";
import type { Database, Sql } from "../database.ts";
import { moveEvents } from "./events.ts";
import { foldInstance, type InstanceRow, type ReportEvent } from "./fold-instance.ts";
import * as statements from "./fold-statements.ts";
import { assertLeading } from "./leadership.ts";
import { markCorruptSnapshots } from "./corrupt-snapshots.ts";
import { queueReports, type FoldedPosition, type Queue } from "./report-queue.ts";

/** What an agent may forget now. */
export interface Acknowledgement {
  readonly hostId: string;
  readonly isolation: string;
  readonly journal: string;
  readonly upToSeq: number;
}

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

const agentKey = (agent: { hostId: string; isolation: string }): string => `${agent.hostId} ${agent.isolation}`;

interface AgentQueue extends Queue {
  readonly hostId: string;
  readonly isolation: string;
  readonly before: FoldedPosition;
}

const queuesOf = (batches: readonly ReportBatch[], positions: readonly statements.PositionRow[]): AgentQueue[] => {
  const byAgent = Map.groupBy(batches, agentKey);
  // Reports of a host that never joined this control plane are nobody's: they stay with the agent.
  return positions.map(({ hostId, isolation, journal, foldedSeq }) => {
    const before = { journal, foldedSeq };
    const mine = byAgent.get(agentKey({ hostId, isolation })) ?? [];
    return { ...queueReports(mine, before), hostId, isolation, before };
  });
};

interface Changes {
  readonly rows: Map<string, InstanceRow>;
  readonly changed: Set<string>;
  readonly events: { readonly row: InstanceRow; readonly event: ReportEvent }[];
  readonly gone: { readonly instanceId: string; readonly epoch: Epoch }[];
  illegal: number;
}

const fold = (queues: readonly AgentQueue[], known: ReadonlyMap<string, InstanceRow>): Changes => {
  const changes: Changes = { rows: new Map(known), changed: new Set(), events: [], gone: [], illegal: 0 };
  for (const { hostId, reports } of queues) {
    for (const report of reports) {
      const row = changes.rows.get(report.instanceId);
      if (report.state === "gone") {
        changes.gone.push({ instanceId: report.instanceId, epoch: report.epoch });
        continue;
      }
      // An agent speaks only for what is assigned to its own host.
      if (row === undefined || row.hostId !== hostId) continue;
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

const movePositions = async (sql: Sql, queues: readonly AgentQueue[]): Promise<void> => {
  const moved = queues.filter(
    ({ position, before }) => position.journal !== before.journal || position.foldedSeq !== before.foldedSeq,
  );
  if (moved.length === 0) return;
  const written = await sql.rows(statements.movePositions, [
    moved.map((queue) => queue.hostId),
    moved.map((queue) => queue.isolation),
    moved.map((queue) => queue.position.journal),
    moved.map((queue) => queue.position.foldedSeq),
    moved.map((queue) => queue.before.journal),
    moved.map((queue) => queue.before.foldedSeq),
  ]);
  // As a serialization failure, so that the whole batch is read and folded again on the new position.
  if (written.length !== moved.length) throw Object.assign(new Error("another folder was faster"), { code: "40001" });
};

const endAssignments = async (sql: Sql, gone: Changes["gone"]): Promise<string[]> => {
  const ended = await sql.rows(statements.endAssignments, [
    gone.map(({ instanceId }) => instanceId),
    gone.map(({ epoch }) => epoch.era),
    gone.map(({ epoch }) => epoch.n),
  ]);
  const workloadIds = ended.map((row) => row.workloadId);
  if (workloadIds.length > 0) await sql.rows(statements.deleteWorkloads, [workloadIds]);
  return workloadIds;
};

const foldOnce = async (sql: Sql, batches: readonly ReportBatch[], term: number): Promise<FoldResult> => {
  const agents = [...new Map(batches.map((batch) => [agentKey(batch), batch])).values()];
  const ids = [...new Set(batches.flatMap((batch) => batch.reports.map((report) => report.instanceId)))];
  const [, locked, positions] = await Promise.all([
    assertLeading(sql, term),
    sql.rows(statements.lockInstances, [ids]),
    sql.rows(statements.selectPositions, [agents.map((agent) => agent.hostId), agents.map((agent) => agent.isolation)]),
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
  const [removedFrom] =
    changes.gone.length === 0
      ? [[], ...(await Promise.all([...writes, moveEvents(sql)]))]
      : await Promise.all([endAssignments(sql, changes.gone), ...writes]);
  if (changes.gone.length > 0) await moveEvents(sql);
  return {
    acknowledgements: queues.map(({ hostId, isolation, position }) => ({
      hostId,
      isolation,
      journal: position.journal,
      upToSeq: position.foldedSeq,
    })),
    folded: queues.reduce((total, queue) => total + queue.reports.length, 0),
    illegal: changes.illegal,
    touched: [
      ...new Set([
        ...changed.flatMap((row) => [row.id, row.workloadId]),
        ...changes.gone.map(({ instanceId }) => instanceId),
        ...removedFrom,
      ]),
    ],
    freed: changes.gone.length > 0,
  };
};

/**
 * Writes what agents report, in one transaction: rows, events and how far each journal is folded. The same batch again
 * changes nothing. Publishes waiting events as well. Rejects NotLeading, DATABASE_UNAVAILABLE: then nothing is written
 * and nothing may be acknowledged.
 */
export const foldReports = (database: Database, term: number, batches: readonly ReportBatch[]): Promise<FoldResult> =>
  database.transaction((sql) => foldOnce(sql, batches, term));
