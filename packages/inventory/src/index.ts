export { eventMatches, instanceName, isUuid, openApiInventory, withTag } from "./api/index.ts";
export type {
  OrderedUse,
  ApiInventory,
  ApiReads,
  ApiWrites,
  Change,
  EventFilter,
  HeldPull,
  HostUpdate,
  Identity,
  InstanceAction,
  InstanceFilter,
  NewImage,
  NewPull,
  NewNetwork,
  NewToken,
  OnceKey,
  Page,
  PageRequest,
  PullNews,
  PullOutcome,
  Reference,
  StoredAnswer,
} from "./api/index.ts";
export type { Adoption, UnknownRun } from "./control/adopt.ts";
export type { ClusterIdentity, EraRequest } from "./control/cluster.ts";
export type { Committed, DocumentVersion } from "./control/commit-plan.ts";
export type { DocumentMemory } from "./control/document-memory.ts";
export type { AgentName, DocumentHead, Fetched } from "./control/documents.ts";
export type { FoldResult } from "./control/fold.ts";
export type { Acknowledgement } from "./control/fold-positions.ts";
export type { AgentNews, KnownAgent } from "./control/hosts.ts";
export { controlStore } from "./control/index.ts";
export type { ControlStore } from "./control/index.ts";
export { NotLeading } from "./control/leadership.ts";
export { networkKey } from "./control/networks.ts";
export type { OutboxRow } from "./control/outbox.ts";
export type { PendingInstance, Refusal } from "./control/pending.ts";
export type { DoomedShare, OpenUse } from "./control/share-work.ts";
export type { OpenSnapshot } from "./control/snapshot-work.ts";
export { defaultRetention } from "./control/retention.ts";
export type { Retention } from "./control/retention.ts";
export { Database, statement } from "./database.ts";
export type { DatabaseLog, DatabaseOptions, Sql, Statement } from "./database.ts";
export { databaseFailure, isRefusedValue, isRetryable, isUniqueViolation, sqlState } from "./failure.ts";
export { openInventory } from "./inventory.ts";
export type { Inventory } from "./inventory.ts";
export { migrate } from "./migrate.ts";
export type { Prisma } from "./prisma.ts";
