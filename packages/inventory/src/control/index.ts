import type { FetchDesired, JoinHost, Problem, ReportBatch, SharesApplied, TakenSnapshot } from "@bulkhead/contracts";
import type { Database } from "../database.ts";
import { adoptRuns, type UnknownRun } from "./adopt.ts";
import { liftVersion, readCluster, startEra, type AgentVersion, type EraRequest } from "./cluster.ts";
import { commitPlan, type Commit, type DocumentVersion } from "./commit-plan.ts";
import type { DocumentMemory } from "./document-memory.ts";
import { fetchDocument, readHeads, type AgentName } from "./documents.ts";
import { moveEvents } from "./events.ts";
import { readHosts, readHostVersions } from "./fleet.ts";
import { foldReports, passReports } from "./fold.ts";
import { joinHost, readAgents, recordAgents, type AgentNews } from "./hosts.ts";
import {
  acquireLeadership,
  assertLeading,
  leaseHolder,
  releaseLeadership,
  renewLeadership,
  type LeaseRequest,
} from "./leadership.ts";
import { readNetworks, type NetworkKey } from "./networks.ts";
import { settleOperations } from "./operations.ts";
import { clearOutbox, clearOutboxUpTo, readOutbox, type OutboxRow } from "./outbox.ts";
import { readPending, recordRejections, type Refusal } from "./pending.ts";
import { readPulse } from "./pulse.ts";
import { replaceLost, type LostAgent } from "./replace.ts";
import { removeOld, type Retention } from "./retention.ts";
import { readShareWork, recordShareRemoved, recordShares, type DoomedShare } from "./share-work.ts";
import {
  readSnapshotWork,
  recordSnapshotFailed,
  recordSnapshotProgress,
  recordSnapshotRemoved,
  recordSnapshotTaken,
  recordSnapshotVerified,
  type OpenSnapshot,
} from "./snapshot-work.ts";

/**
 * What the scheduler's control loop does with the database, each call one transaction. Calls with a `term` reject
 * NotLeading, with nothing written, when that term is over; all reject DATABASE_UNAVAILABLE.
 */
export const controlStore = (database: Database) => {
  const leading = <T>(work: Parameters<typeof database.transaction<T>>[0]): Promise<T> => database.transaction(work);
  return {
    cluster: () => readCluster(database),
    pulse: () => readPulse(database),
    startEra: (request: EraRequest) => leading((sql) => startEra(sql, request)),
    liftVersion: (term: number, reached: AgentVersion) => leading((sql) => liftVersion(sql, term, reached)),

    acquireLeadership: (request: LeaseRequest) => acquireLeadership(database, request),
    renewLeadership: (lease: Parameters<typeof renewLeadership>[1]) => renewLeadership(database, lease),
    releaseLeadership: (lease: Parameters<typeof releaseLeadership>[1]) => releaseLeadership(database, lease),
    leaseHolder: () => leaseHolder(database),

    readHosts: (ids?: readonly string[]) => readHosts(database, ids),
    readHostVersions: () => readHostVersions(database),
    readNetworks: (keys: readonly NetworkKey[]) => readNetworks(database, keys),
    readPending: (limit: number, except?: readonly string[]) => readPending(database, limit, except),
    commitPlan: (commit: Commit) => commitPlan(database, commit),
    recordRejections: (term: number, refusals: readonly Refusal[]) =>
      leading((sql) => recordRejections(sql, term, refusals)),

    fetchDocument: (agent: AgentName, wanted: FetchDesired, memory?: DocumentMemory) =>
      fetchDocument(database, agent, { ...wanted, memory }),
    readHeads: (agents: readonly AgentName[]) => readHeads(database, agents),
    readOutbox: (limit: number) => readOutbox(database, limit),
    clearOutbox: (rows: readonly OutboxRow[]) => clearOutbox(database, rows),
    clearOutboxUpTo: (documents: readonly DocumentVersion[]) => clearOutboxUpTo(database, documents),

    foldReports: (term: number, batches: readonly ReportBatch[]) => foldReports(database, term, batches),
    passReports: (term: number, batch: ReportBatch) => passReports(database, term, batch),
    publishEvents: (term: number) =>
      leading(async (sql) => {
        await assertLeading(sql, term);
        return moveEvents(sql);
      }),
    settleOperations: (term: number, targets?: readonly string[]) =>
      settleOperations(database, { term, ...(targets === undefined ? {} : { targets }) }),

    joinHost: (join: JoinHost) => joinHost(database, join),
    readAgents: (hostId?: string) => readAgents(database, hostId),
    recordAgents: (term: number, news: readonly AgentNews[]) => leading((sql) => recordAgents(sql, term, news)),
    replaceLost: (term: number, agents: readonly LostAgent[], driftMs: number) =>
      replaceLost(database, term, { agents, driftMs }),
    adoptRuns: (term: number, agent: AgentName, runs: readonly UnknownRun[]) =>
      leading((sql) => adoptRuns(sql, { term, agent, runs })),
    shareWork: () => readShareWork(database),
    recordShares: (term: number, told: { instanceId: string; applied: SharesApplied }) =>
      leading((sql) => recordShares(sql, term, told)),
    recordShareRemoved: (term: number, share: DoomedShare) => leading((sql) => recordShareRemoved(sql, term, share)),
    snapshotWork: () => readSnapshotWork(database),
    recordSnapshotTaken: (term: number, told: { snapshot: OpenSnapshot; taken: TakenSnapshot }) =>
      leading((sql) => recordSnapshotTaken(sql, term, told)),
    recordSnapshotFailed: (term: number, told: { snapshot: OpenSnapshot; error: Problem }) =>
      leading((sql) => recordSnapshotFailed(sql, term, told)),
    recordSnapshotVerified: (term: number, told: { snapshot: OpenSnapshot; error: Problem | null; unsound: boolean }) =>
      leading((sql) => recordSnapshotVerified(sql, term, told)),
    recordSnapshotProgress: (term: number, told: { snapshot: OpenSnapshot; progress: string }) =>
      leading((sql) => recordSnapshotProgress(sql, term, told)),
    recordSnapshotRemoved: (term: number, snapshot: OpenSnapshot) =>
      leading((sql) => recordSnapshotRemoved(sql, term, snapshot)),
    removeOld: (term: number, keep?: Retention) => leading((sql) => removeOld(sql, term, keep)),
  };
};

export type ControlStore = ReturnType<typeof controlStore>;
