import type { AttachShare, CreateShare, RestoreSnapshot, Share, SharesApplied } from "@bulkhead/contracts";
import type { Database, Sql } from "../database.ts";
import type { Change } from "./change.ts";
import * as events from "./events.ts";
import * as hosts from "./hosts.ts";
import { type OnceKey, type StoredAnswer, claim, complete, release } from "./idempotency.ts";
import * as pulls from "./image-pulls.ts";
import * as images from "./images.ts";
import * as instanceRows from "./instance-rows.ts";
import * as instances from "./instances.ts";
import * as networks from "./networks.ts";
import * as kernels from "./kernels.ts";
import * as operations from "./operations.ts";
import type { PageRequest } from "./page.ts";
import * as shares from "./shares.ts";
import * as snapshots from "./snapshots.ts";
import * as shareUses from "./share-uses.ts";
import * as tokens from "./tokens.ts";
import * as unknownRuns from "./unknown-runs.ts";
import * as workloadRows from "./workload-rows.ts";
import * as workloads from "./workloads.ts";

/** Everything that only reads, each one statement. */
const reads = (sql: Sql) => ({
  workload: (wanted: workloadRows.Reference) => workloadRows.getWorkload(sql, wanted),
  workloads: (filter: workloadRows.WorkloadFilter, page: PageRequest) => workloadRows.listWorkloads(sql, filter, page),
  instance: (wanted: workloadRows.Reference) => instanceRows.getInstance(sql, wanted),
  instances: (filter: instanceRows.InstanceFilter, page: PageRequest) => instanceRows.listInstances(sql, filter, page),
  host: (wanted: string) => hosts.getHost(sql, wanted),
  hosts: (page: PageRequest) => hosts.listHosts(sql, page),
  agentPublicKey: (hostId: string, isolation: string) => hosts.agentPublicKey(sql, hostId, isolation),
  largestCapacity: (isolation: "container" | "vm") => hosts.largestCapacity(sql, isolation),
  findImage: (project: string | null, reference: string) => images.findImage(sql, project, reference),
  image: (project: string | null, reference: string) => images.getImage(sql, project, reference),
  images: (project: string | null, page: PageRequest) => images.listImages(sql, project, page),
  allImageDigests: () => images.allImageDigests(sql),
  kernel: (wanted: workloadRows.Reference) => kernels.getKernel(sql, wanted),
  findKernel: (wanted: workloadRows.Reference) => kernels.findKernel(sql, wanted),
  defaultKernel: (project: string) => kernels.defaultKernel(sql, project),
  kernels: (project: string | null, page: PageRequest) => kernels.listKernels(sql, project, page),
  network: (wanted: workloadRows.Reference) => networks.getNetwork(sql, wanted),
  networks: (project: string | null, page: PageRequest) => networks.listNetworks(sql, project, page),
  operation: (id: string, project: string | null) => operations.getOperation(sql, id, project),
  share: (wanted: workloadRows.Reference) => shares.getShare(sql, wanted),
  shares: (project: string | null, page: PageRequest) => shares.listShares(sql, project, page),
  shareGraph: (project: string | null) => shares.shareGraph(sql, project),
  usableShares: (project: string, names: readonly string[]) => shares.usableShares(sql, project, names),
  snapshot: (wanted: workloadRows.Reference) => snapshots.getSnapshot(sql, wanted),
  snapshots: (project: string | null, page: PageRequest) => snapshots.listSnapshots(sql, project, page),
  token: (hash: Uint8Array) => tokens.findToken(sql, hash),
  tokens: (page: PageRequest) => tokens.listTokens(sql, page),
  eventsAfter: (cursor: number, limit: number) => events.eventsAfter(sql, cursor, limit),
  matchingEvents: (range: { after: number; upTo: number; limit: number }, filter: events.EventFilter) =>
    events.matchingEvents(sql, range, filter),
  newestEvent: () => events.newestEvent(sql),
  assertCursor: (cursor: number) => events.assertCursor(sql, cursor),
});

/** Everything that writes; each takes part in the transaction that `write` opened. */
const writes = (sql: Sql) => ({
  createWorkload: (change: Change, wanted: workloads.NewWorkload) => workloads.createWorkload(sql, change, wanted),
  patchWorkload: (change: Change, update: workloads.WorkloadUpdate) => workloads.patchWorkload(sql, change, update),
  deleteWorkload: (change: Change, deletion: workloads.WorkloadDeletion) =>
    workloads.deleteWorkload(sql, change, deletion),
  orderInstance: (change: Change, order: instances.InstanceOrder) => instances.orderInstance(sql, change, order),
  recordKill: (change: Change, killed: { instanceId: string; signal: number }) =>
    instances.recordKill(sql, change, killed),
  patchHost: (change: Pick<Change, "tokenId">, update: hosts.HostUpdate) => hosts.patchHost(sql, change, update),
  endUnknownRun: (change: Pick<Change, "tokenId">, end: unknownRuns.UnknownEnd) =>
    unknownRuns.endUnknownRun(sql, change, end),
  recordImage: (change: Change, image: images.NewImage) => images.recordImage(sql, change, image),
  startPull: (change: Change, pull: pulls.NewPull) => pulls.startPull(sql, change, pull),
  claimPulls: (claim: pulls.PullClaim) => pulls.claimPulls(sql, claim),
  beatPull: (pull: pulls.HeldPull, news: pulls.PullNews) => pulls.beatPull(sql, pull, news),
  finishPull: (pull: pulls.HeldPull, outcome: pulls.PullOutcome) => pulls.finishPull(sql, pull, outcome),
  releasePulls: (holder: string) => pulls.releasePulls(sql, holder),
  deleteImage: (change: Change, reference: string) => images.deleteImage(sql, change, reference),
  createShare: (change: Change, share: CreateShare) => shares.createShare(sql, change, share),
  deleteShare: (change: Change, wanted: workloadRows.Reference) => shares.deleteShare(sql, change, wanted),
  forgetShare: (share: Pick<Share, "id" | "name" | "project">) => shares.forgetShare(sql, share),
  attachShare: (change: Change, wanted: shareUses.UseReference, place: AttachShare) =>
    shareUses.attachShare(sql, change, wanted, place),
  detachShare: (change: Change, wanted: shareUses.UseReference) => shareUses.detachShare(sql, change, wanted),
  confirmShares: (instanceId: string, applied: SharesApplied) => shareUses.confirmShares(sql, instanceId, applied),
  createKernel: (change: Change, wanted: kernels.NewKernel) => kernels.createKernel(sql, change, wanted),
  deleteKernel: (change: Change, idOrName: string) => kernels.deleteKernel(sql, change, idOrName),
  createSnapshot: (change: Change, wanted: snapshots.NewSnapshot) => snapshots.createSnapshot(sql, change, wanted),
  restoreSnapshot: (change: Change, wanted: RestoreSnapshot & { snapshot: workloadRows.Reference }) =>
    snapshots.restoreSnapshot(sql, change, wanted),
  verifySnapshot: (change: Change, wanted: workloadRows.Reference) => snapshots.verifySnapshot(sql, change, wanted),
  deleteSnapshot: (change: Change, wanted: workloadRows.Reference) => snapshots.deleteSnapshot(sql, change, wanted),
  createNetwork: (change: Change, wanted: networks.NewNetwork) => networks.createNetwork(sql, change, wanted),
  deleteNetwork: (change: Change, idOrName: string) => networks.deleteNetwork(sql, change, idOrName),
  upsertAdminToken: (hash: Uint8Array) => tokens.upsertAdminToken(sql, hash),
  createToken: (token: tokens.NewToken, by: string) => tokens.createToken(sql, token, by),
  revokeToken: (id: string, by: string) => tokens.revokeToken(sql, id, by),
  revokeAgentTokens: (hostId: string, isolation: string) => tokens.revokeAgentTokens(sql, hostId, isolation),
  claim: (once: OnceKey) => claim(sql, once),
  complete: (once: OnceKey, answer: StoredAnswer) => complete(sql, once, answer),
  release: (once: OnceKey) => release(sql, once),
});

export type ApiReads = ReturnType<typeof reads>;
export type ApiWrites = ReturnType<typeof writes>;

/** The inventory as the HTTP API uses it. */
export interface ApiInventory {
  readonly read: ApiReads;
  /** One transaction; repeated when it lost a deadlock, so `work` must do nothing but call what it is given. */
  write<T>(work: (tx: ApiWrites) => Promise<T>): Promise<T>;
}

export const openApiInventory = (database: Database): ApiInventory => ({
  read: reads(database),
  write: (work) => database.transaction((sql) => work(writes(sql))),
});

export type { Change } from "./change.ts";
export { type EventFilter, matches as eventMatches } from "./events.ts";
export type { HostUpdate } from "./hosts.ts";
export type { OnceKey, StoredAnswer } from "./idempotency.ts";
export { type NewImage, withTag } from "./images.ts";
export type { InstanceFilter } from "./instance-rows.ts";
export type { InstanceAction } from "./instances.ts";
export type { HeldPull, NewPull, PullNews, PullOutcome } from "./image-pulls.ts";
export type { NewNetwork } from "./networks.ts";
export { isUuid, type Page, type PageRequest } from "./page.ts";
export type { OrderedUse } from "./share-uses.ts";
export { instanceName } from "./replicas.ts";
export type { Identity, NewToken } from "./tokens.ts";
export type { Reference } from "./workload-rows.ts";
