import type {
  Pressure,
  AssignedShare,
  Assignment,
  Epoch,
  ExitStatus,
  HostFacts,
  InstanceId,
  InstanceMachine,
  InstanceReason,
  InstanceView,
  Isolation,
  Resources,
  ShareOutcome,
  SnapshotId,
  TakenSnapshot,
  ViewInstance,
} from "@bulkhead/contracts";

/** One run of one instance: attempt counts local restarts within an epoch. */
export interface RunKey {
  readonly instanceId: InstanceId;
  readonly epoch: Epoch;
  readonly attempt: number;
}

export interface StartRequest {
  readonly key: RunKey;
  readonly assignment: Assignment;
}

/** How a run ended; `reason` is precise enough to act on. */
export interface Ended {
  readonly exit: ExitStatus;
  readonly reason: InstanceReason;
  readonly detail: string | null;
}

/** A start that could not be done; everything it had begun is undone. */
export class StartFailure extends Error {
  readonly reason: InstanceReason;

  constructor(reason: InstanceReason, detail: string, cause?: unknown) {
    super(detail, cause === undefined ? {} : { cause });
    this.name = "StartFailure";
    this.reason = reason;
  }
}

export type ResizeOutcome =
  | { readonly outcome: "applied" }
  | { readonly outcome: "deferred"; readonly detail: string }
  | { readonly outcome: "infeasible"; readonly detail: string };

/** Counters since start and gauges now, from the kernel. Times in nanoseconds. */
export interface Usage {
  readonly cpuUsageNs: number;
  readonly throttledNs: number;
  readonly throttledPeriods: number;
  readonly memoryBytes: number;
  readonly memoryPeakBytes: number;
  readonly memoryLimitBytes: number | null;
  readonly pids: number;
  readonly oomKills: number;
  readonly ioReadBytes: number;
  readonly ioWriteBytes: number;
  readonly ioReadOps: number;
  readonly ioWriteOps: number;
  /** of the disk of its own that its root is written to; absent without one */
  readonly diskUsedBytes?: number;
  readonly diskLimitBytes?: number;
  /** absent where the kernel counts none */
  readonly pressure?: Pressure;
}

/** What was promised against what the kernel enforces; `violations` is empty while the contract is held. */
export interface ContractCheck {
  readonly held: boolean;
  readonly violations: readonly string[];
}

export interface ExecRequest {
  readonly command: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly workingDir?: string;
  readonly user?: string;
  readonly tty: boolean;
  readonly rows?: number;
  readonly columns?: number;
}

/** A command running inside an instance. Streams carry back-pressure; with a tty everything comes on `stdout`. */
export interface ExecSession {
  readonly stdin: NodeJS.WritableStream;
  readonly stdout: NodeJS.ReadableStream;
  readonly stderr: NodeJS.ReadableStream | null;
  readonly ended: Promise<{ exitCode: number | null; signal: number | null }>;
  resize(rows: number, columns: number): void;
  signal(signal: number): void;
  /** Ends the command when its user went away. */
  close(): void;
}

export interface LogLine {
  /** RFC 3339 with nanoseconds, as the shim wrote it */
  readonly at: string;
  readonly stream: "stdout" | "stderr";
  readonly text: Uint8Array;
  /** false when the line goes on in the next record */
  readonly complete: boolean;
}

export interface LogRequest {
  readonly follow: boolean;
  readonly tailLines?: number;
  readonly since?: string;
}

/** How far files were read, holes included. */
export interface ReadProgress {
  readonly readBytes: number;
  readonly totalBytes: number;
}

/** One run the runtime knows: living, or ended and not yet released. */
export interface Run {
  readonly key: RunKey;
  readonly assignment: Assignment;
  readonly startedAt: string;
  /** Settles when the run has ended and its exit is known; never rejects. */
  readonly ended: Promise<Ended>;
  readonly paused: boolean;
  /** what runs it, when it is a virtual machine */
  readonly machine?: InstanceMachine;
  /** Stop signal, then SIGKILL to all after `graceMs`; resolves when ended. */
  stop(graceMs: number): Promise<void>;
  /** false when the run has ended */
  signal(signal: number): boolean;
  pause(): Promise<void>;
  resume(): Promise<void>;
  /** Changes limits in place; limits that `resources` does not name stay. */
  resize(resources: Resources): Promise<ResizeOutcome>;
  usage(): Usage;
  checkContract(): ContractCheck;
  /** Attaches what is wanted and not there, detaches what is there and not wanted; an outcome for each change. */
  reshare(wanted: readonly AssignedShare[]): Promise<ShareOutcome[]>;
  /** What it can see and do, from the kernel; rejects STATE_CONFLICT when it has ended. */
  view(from: ViewInstance["seccompFrom"]): Promise<InstanceView>;
  exec(request: ExecRequest): Promise<ExecSession>;
  /** Frees what the ended run holds in the kernel; its log and scratch stay until `Runtime.remove`. */
  release(): Promise<void>;
}

/**
 * What an agent needs of whatever isolates instances. The fake, the container runtime and the VM engines implement it
 * and pass one conformance suite (`runtimeSuite` of testkit).
 */
export interface Runtime extends AsyncDisposable {
  readonly isolation: Isolation;
  facts(): Promise<HostFacts>;
  /** Fetches what a start would wait for (the image); rejects StartFailure. */
  prepare(assignment: Assignment, signal: AbortSignal): Promise<void>;
  /** Resolves when the entrypoint runs; rejects StartFailure with everything undone. */
  start(request: StartRequest, signal: AbortSignal): Promise<Run>;
  /** Truth after an agent's restart: every run that lives, or ended and was not released. */
  list(): Promise<Run[]>;
  /** Log of an instance, newest epoch, whether it runs or not. */
  logs(instanceId: InstanceId, request: LogRequest, signal: AbortSignal): AsyncIterable<LogLine>;
  /** Removes a share's data; rejects SHARE_IN_USE while an instance of this host uses it. */
  removeShare(shareId: string): Promise<void>;
  /**
   * Takes a running instance to files of this host, from which others start (`vm.restoredFrom`); it runs on. Asked again it
   * answers what it took. Rejects SNAPSHOT_UNSUPPORTED, STATE_CONFLICT, SNAPSHOT_NO_ROOM, RUNTIME_FAILED and, when it does
   * not run on, SNAPSHOT_STANDSTILL, with nothing left of it.
   */
  snapshot(instanceId: InstanceId, snapshotId: SnapshotId): Promise<TakenSnapshot>;
  /**
   * Reads all of its files, and tells how far that got; rejects NOT_FOUND, and SNAPSHOT_CORRUPT when one is not what was
   * written.
   */
  verifySnapshot(snapshotId: SnapshotId, onRead?: (progress: ReadProgress) => void): Promise<void>;
  /** Removes its files, if there are any; rejects SNAPSHOT_IN_USE while an instance of this host began from them. */
  removeSnapshot(snapshotId: SnapshotId): Promise<void>;
  /** Removes every trace of an instance whose runs were released. */
  remove(instanceId: InstanceId): Promise<void>;
}
