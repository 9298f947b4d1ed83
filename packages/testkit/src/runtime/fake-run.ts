import { PassThrough } from "node:stream";
import {
  fleetError,
  type InstanceReason,
  type AssignedShare,
  type InstanceMachine,
  type InstanceView,
  type Resources,
  type ShareOutcome,
} from "@bulkhead/contracts";
import { reasonOf } from "@bulkhead/lifecycle";
import type {
  Clock,
  ContractCheck,
  Ended,
  ExecRequest,
  ExecSession,
  LogLine,
  ResizeOutcome,
  RunKey,
  Usage,
} from "@bulkhead/node";
import type { Assignment } from "@bulkhead/contracts";

export interface FakeRunOptions {
  readonly key: RunKey;
  readonly assignment: Assignment;
  readonly clock: Clock;
  readonly resize: (resources: Resources) => Promise<ResizeOutcome> | ResizeOutcome;
}

/** What a process sees that has nothing: every list is empty. */
const emptyView = ({ instanceId, name }: Assignment, clock: Clock): InstanceView => ({
  instanceId,
  name,
  at: new Date(clock.now()).toISOString(),
  pid: 1,
  processes: 1,
  mounts: [],
  namespaces: [],
  unreadable: 0,
  devices: { nodes: [], allowed: null },
  capabilities: { effective: [], permitted: [], inheritable: [], bounding: [], ambient: [] },
  ids: { uid: 0, gid: 0, uidMap: [] },
  seccomp: {
    mode: "disabled",
    filters: 0,
    from: "none",
    why: null,
    allowed: [],
    conditional: [],
    refused: 0,
    otherwise: null,
  },
  security: { noNewPrivileges: true, modules: null, label: null, writable: null },
  sockets: [],
  limits: [],
  truncated: [],
});

const sigterm = 15;
const sigkill = 9;

/** One "process": what a kernel would keep of it while agents come and go. */
export class FakeRun {
  readonly key: RunKey;
  assignment: Assignment;
  readonly startedAt: string;
  readonly ended: Promise<Ended>;
  readonly lines: LogLine[] = [];
  paused = false;
  released = false;
  /** fails while set, as a kernel that refuses */
  failing: { release?: Error; pause?: Error; stop?: Error; attach?: Error } = {};
  violations: string[] = [];
  /** what a run of a machine says of itself */
  machine?: InstanceMachine;
  readonly stops: number[] = [];
  readonly signals: number[] = [];
  resources: Resources;
  #end: Ended | null = null;
  #stopWanted = false;
  #pausedMs = 0;
  #pausedSinceMs = 0;
  readonly #resolve: (ended: Ended) => void;
  readonly #clock: Clock;
  readonly #resize: FakeRunOptions["resize"];

  constructor(options: FakeRunOptions) {
    this.key = options.key;
    this.assignment = options.assignment;
    this.resources = options.assignment.spec.resources;
    this.#clock = options.clock;
    this.#resize = options.resize;
    this.startedAt = new Date(options.clock.now()).toISOString();
    const { promise, resolve } = Promise.withResolvers<Ended>();
    this.ended = promise;
    this.#resolve = resolve;
  }

  get program(): string {
    return this.assignment.spec.command?.[0] ?? "sleep";
  }

  get living(): boolean {
    return this.#end === null;
  }

  /** The process ends by itself. */
  end(how: { exitCode?: number; signal?: number; oomKilled?: boolean; reason?: InstanceReason } = {}): void {
    if (this.#end !== null) return;
    const signal = how.signal ?? null;
    const exitCode = signal === null ? (how.exitCode ?? 0) : null;
    const oomKilled = how.oomKilled ?? false;
    const finishedAt = new Date(this.#clock.now()).toISOString();
    this.#end = {
      exit: { exitCode, signal, oomKilled, startedAt: this.startedAt, finishedAt },
      reason: how.reason ?? reasonOf({ exitCode, signal, oomKilled, stopWanted: this.#stopWanted }),
      detail: null,
    };
    this.#resolve(this.#end);
  }

  async stop(graceMs: number): Promise<void> {
    if (this.failing.stop !== undefined) throw this.failing.stop;
    this.stops.push(graceMs);
    this.#stopWanted = true;
    if (this.program === "stubborn") {
      const kill = this.#clock.after(graceMs, () => this.end({ signal: sigkill }));
      await this.ended;
      kill.cancel();
    } else this.end({ signal: sigterm });
  }

  signal(signal: number): boolean {
    if (!this.living) return false;
    this.signals.push(signal);
    if (signal === sigkill || (signal === sigterm && this.program !== "stubborn")) this.end({ signal });
    return true;
  }

  async pause(): Promise<void> {
    if (this.failing.pause !== undefined) throw this.failing.pause;
    if (!this.paused) this.#pausedSinceMs = this.#clock.now();
    this.paused = true;
  }

  async resume(): Promise<void> {
    if (this.paused) this.#pausedMs += this.#clock.now() - this.#pausedSinceMs;
    this.paused = false;
  }

  async resize(resources: Resources): Promise<ResizeOutcome> {
    const outcome = await this.#resize(resources);
    if (outcome.outcome === "applied") this.resources = { ...this.resources, ...resources };
    return outcome;
  }

  usage(): Usage {
    const nowMs = this.paused ? this.#pausedSinceMs : this.#clock.now();
    const ranMs = nowMs - Date.parse(this.startedAt) - this.#pausedMs;
    return {
      cpuUsageNs: this.program === "spin" ? ranMs * 1_000_000 : 0,
      throttledNs: 0,
      throttledPeriods: 0,
      memoryBytes: 1_000_000,
      memoryPeakBytes: 1_000_000,
      memoryLimitBytes: this.resources.memoryBytes,
      pids: this.living ? 1 : 0,
      oomKills: 0,
      ioReadBytes: 0,
      ioWriteBytes: 0,
      ioReadOps: 0,
      ioWriteOps: 0,
    };
  }

  checkContract(): ContractCheck {
    return { held: this.violations.length === 0, violations: this.violations };
  }

  /** `failing.attach`: what is not there stays away, and that is said. */
  async reshare(wanted: readonly AssignedShare[]): Promise<ShareOutcome[]> {
    const ids = (shares: readonly AssignedShare[]): string[] => shares.map(({ shareId }) => shareId);
    const before = ids(this.assignment.shares ?? []);
    const outcome = (shareId: string, state: ShareOutcome["state"], detail: string | null = null): ShareOutcome => ({
      shareId,
      state,
      busy: false,
      detail,
    });
    const added = wanted.filter(({ shareId }) => !before.includes(shareId));
    const failed = this.failing.attach === undefined ? [] : added;
    const kept = wanted.filter((share) => !failed.includes(share));
    this.assignment = { ...this.assignment, shares: kept };
    return [
      ...ids(kept).map((shareId) => outcome(shareId, "attached")),
      ...ids(failed).map((shareId) => outcome(shareId, "failed", this.failing.attach?.message ?? null)),
      ...before.filter((shareId) => !ids(wanted).includes(shareId)).map((shareId) => outcome(shareId, "detached")),
    ];
  }

  async view(): Promise<InstanceView> {
    if (!this.living) throw fleetError("STATE_CONFLICT", "the instance has ended");
    return emptyView(this.assignment, this.#clock);
  }

  async exec(request: ExecRequest): Promise<ExecSession> {
    if (!this.living) throw fleetError("STATE_CONFLICT", "the instance has ended");
    const [program, argument] = request.command;
    if (program !== "cat" && program !== "exit") throw fleetError("EXEC_FAILED", `${program} is not in the image`);
    const stdin = new PassThrough();
    const stdout = new PassThrough();
    const { promise: ended, resolve } = Promise.withResolvers<{ exitCode: number | null; signal: number | null }>();
    const finish = (exit: { exitCode: number | null; signal: number | null }): void => {
      stdout.end();
      resolve(exit);
    };
    if (program === "cat") {
      stdin.pipe(stdout, { end: false });
      stdin.once("end", () => finish({ exitCode: 0, signal: null }));
    } else finish({ exitCode: Number(argument), signal: null });
    return {
      stdin,
      stdout,
      stderr: request.tty ? null : new PassThrough().end(),
      ended,
      resize: () => undefined,
      signal: (signal) => finish({ exitCode: null, signal }),
      close: () => finish({ exitCode: null, signal: sigkill }),
    };
  }

  async release(): Promise<void> {
    if (this.failing.release !== undefined) throw this.failing.release;
    if (this.living) throw fleetError("STATE_CONFLICT", "a living run cannot be released");
    this.released = true;
  }
}
