import type { Readable } from "node:stream";
import type {
  ApplyShares,
  Digest,
  InstanceView,
  Isolation,
  JoinHost,
  OpenExec,
  OpenLogs,
  RemoveShare,
  SharesApplied,
  SignalInstance,
  ViewInstance,
} from "@bulkhead/contracts";
import type { ImportedImage, PullRequest } from "@bulkhead/images";
import type { ApiInventory } from "@bulkhead/inventory";
import type { Plan, PlacementRequest } from "@bulkhead/placement";
import type { Logger, Readiness } from "@bulkhead/service";

/** One of a host's agents. */
export interface AgentAddress {
  readonly hostId: string;
  readonly isolation: Isolation;
}

/** Commands to agents; each rejects HOST_UNREACHABLE or BUS_UNAVAILABLE, or what the agent answered. */
export interface AgentCommands {
  exec(agent: AgentAddress, command: OpenExec): Promise<void>;
  logs(agent: AgentAddress, command: OpenLogs): Promise<void>;
  signal(agent: AgentAddress, command: SignalInstance): Promise<void>;
  applyShares(agent: AgentAddress, command: ApplyShares): Promise<SharesApplied>;
  removeShare(agent: AgentAddress, command: RemoveShare): Promise<void>;
  view(agent: AgentAddress, command: ViewInstance): Promise<InstanceView>;
}

/** Who sends an archive, and the name it shall have. */
export interface ImportedBy {
  readonly project: string;
  readonly name: string | undefined;
  readonly signal: AbortSignal;
}

/** The store of image blobs. */
export interface ImageStore {
  /** Verifies and stores every image of an archive. Rejects IMAGE_INVALID, _DIGEST_MISMATCH, _TOO_LARGE, _REFUSED. */
  import(archive: Readable, by: ImportedBy): Promise<readonly ImportedImage[]>;
  /** Fetches and stores an image of a registry. Rejects as ImagePuller.pull. */
  pull(request: PullRequest): Promise<ImportedImage>;
  stat(digest: Digest): Promise<{ readonly sizeBytes: number } | undefined>;
  /** Bytes from `start` on. Rejects IMAGE_UNAVAILABLE. */
  open(digest: Digest, start: number): Promise<Readable>;
  /** A whole small blob. Rejects IMAGE_UNAVAILABLE, IMAGE_TOO_LARGE, IMAGE_DIGEST_MISMATCH. */
  read(digest: Digest, maxBytes: number): Promise<Buffer>;
  /** Deletes old blobs that none of these images needs; resolves to their number. Rejects, with nothing deleted, in doubt. */
  collect(inUse: readonly Digest[]): Promise<number>;
}

/** What the API asks of the control loop in this process, and hears from it. */
export interface ControlPort {
  /**
   * Something was written that placement, the relay or the event folder should see now, and that may finish operations
   * of `targets`.
   */
  wake(targets?: readonly string[]): void;
  /** Where instances would go, on the fleet as it is; decides nothing. */
  preview(requests: readonly PlacementRequest[]): Promise<Plan>;
  /** Records a host and its agent. */
  join(host: JoinHost): Promise<{ readonly clusterId: string }>;
}

/** Pulls that the database knows of. */
export interface PullPort {
  /** One was written. */
  wake(): void;
}

/** Credentials for machines that join. */
export interface HostCredentials {
  readonly natsUrl: string;
  /** user JWT for a host's own subjects */
  mint(agent: AgentAddress & { readonly publicKey: string }): Promise<string>;
}

/** Everything the HTTP API needs of the world. */
export interface SchedulerPorts {
  readonly inventory: ApiInventory;
  readonly commands: AgentCommands;
  readonly images: ImageStore;
  readonly control: ControlPort;
  readonly pulls: PullPort;
  readonly credentials: HostCredentials;
  readonly readiness: Readiness;
  readonly log: Logger;
  /** monotonic, in milliseconds */
  readonly nowMs: () => number;
  /** this process's own measurements in Prometheus' text format */
  readonly ownMetrics: () => { readonly contentType: string; readonly text: string };
  readonly recordRequest: (seconds: number, labels: Record<string, string>) => void;
}

/** Limits and addresses of the API. */
export interface ApiSettings {
  readonly version: string;
  /** `ws://` address of this scheduler as hosts reach it, without a path */
  readonly streamsUrl: string;
  /** where the metrics service answers */
  readonly metricsUrl: string | null;
  readonly imageMaxBytes: number;
  readonly streamsMax: number;
  readonly requestsPerSecond: number;
  readonly requestsBurst: number;
  /** event loop delay above which requests are refused, in milliseconds */
  readonly loopDelayMaxMs: number;
}
