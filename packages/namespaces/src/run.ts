import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  fleetError,
  type AssignedShare,
  type Assignment,
  type InstanceView,
  type Resources,
  type ShareOutcome,
  type ViewInstance,
} from "@bulkhead/contracts";
import {
  freeze,
  isAlive,
  killAll,
  readUsage,
  sendSignal,
  thaw,
  watchExit,
  type CgroupPlacement,
  type ProcessRef,
} from "@bulkhead/native-namespaces";
import type {
  ContractCheck,
  Ended,
  ExecRequest,
  ExecSession,
  JailedProcess,
  ResizeOutcome,
  Run,
  RunKey,
  SharedCpus,
  Usage,
} from "@bulkhead/node";
import { checkContract } from "./contract.ts";
import { endedWithoutRecord, recordedEnd } from "./ended.ts";
import { openExec } from "./exec-session.ts";
import type { RunPaths } from "./instance-paths.ts";
import { membersOf } from "./members.ts";
import { settleMemoryLimit } from "./memory-limit.ts";
import { oomOf } from "./oom.ts";
import { otherProcesses } from "./other-processes.ts";
import { resizeInPlace } from "./resize.ts";
import type { RunHost } from "./run-host.ts";
import { keyOf, type RunRecord } from "./run-record.ts";
import { stopMarker, type Living, type RunState } from "./run-state.ts";
import { askToEnd } from "./stop-signal.ts";
import { settlesWithin } from "@bulkhead/node";
import { reshare } from "./shares/reshare.ts";
import { viewOfRun } from "./view/run-view.ts";

/** Longest wait for all of an instance's processes to freeze, in milliseconds. */
const freezeTimeoutMs = 5_000;
/** How often SIGKILL is repeated while processes remain: on v1 a fork may slip through one round. */
const killRepeatMs = 500;
/** One run of one container, started by this agent or by an earlier one. */
export class ContainerRun implements Run {
  readonly key: RunKey;
  readonly startedAt: string;
  readonly ended: Promise<Ended>;
  readonly paths: RunPaths;
  readonly cgroup: CgroupPlacement;
  onCpusChanged: (() => void) | null = null;
  readonly #host: RunHost;
  readonly #shim: ProcessRef | null;
  readonly #init: ProcessRef | null;
  #recorded: Promise<void>;
  #record: RunRecord;
  #paused: boolean;
  #stopWanted: boolean;
  #over: boolean;
  #changing: Promise<unknown> = Promise.resolve();

  constructor(host: RunHost, state: RunState) {
    this.key = keyOf(state.record);
    this.startedAt = new Date(state.startedAtUnixMs).toISOString();
    this.paths = state.paths;
    this.cgroup = { paths: state.record.cgroup };
    this.#host = host;
    this.#record = state.record;
    this.#paused = state.paused;
    this.#stopWanted = state.stopWanted;
    this.#over = "ended" in state.fate;
    this.#shim = "shim" in state.fate ? state.fate.shim : null;
    this.#init = "init" in state.fate ? state.fate.init : null;
    this.ended = "ended" in state.fate ? Promise.resolve(state.fate.ended) : this.#watch(state.fate);
    this.#recorded = state.keep(this.ended);
  }

  get assignment(): Assignment {
    return this.#record.assignment;
  }

  get record(): RunRecord {
    return this.#record;
  }

  get paused(): boolean {
    return this.#paused;
  }

  get pid(): number | null {
    return this.#over ? null : (this.#init?.pid ?? null);
  }

  others(): JailedProcess[] {
    return this.#init === null || this.#over ? [] : otherProcesses(this.cgroup, this.#init);
  }

  /** true from the moment its end is known */
  get over(): boolean {
    return this.#over;
  }

  processes(): readonly number[] {
    return this.#over ? [] : membersOf(this.cgroup);
  }

  sharedCpus(): SharedCpus {
    const { shared, change, settled } = this.#host.cpusOf(this);
    return { cpus: this.#record.sharesCpus === true ? shared : [], change, settled };
  }

  async #watch({ shim, watchEnd }: Living): Promise<Ended> {
    await (watchEnd === undefined ? watchExit(shim).exited : watchEnd());
    const ended = this.#readEnd();
    this.#over = true;
    this.#host.ended(this);
    return ended;
  }

  #readEnd(): Ended {
    const recorded = recordedEnd(this.paths.runDir, {
      stopWanted: this.#stopWanted,
      oom: () => oomOf(this.#host.kernelLog, this.cgroup, this.#record),
      leaseMs: this.assignment.spec.leaseMs ?? null,
    });
    if (recorded !== null) return recorded;
    this.#kill();
    const reason = this.#stopWanted ? "StoppedByUser" : "Vanished";
    return endedWithoutRecord(reason, { startedAt: this.startedAt, seenAtUnixMs: Date.now() });
  }

  async stop(graceMs: number): Promise<void> {
    if (this.#over) return;
    this.#stopWanted = true;
    await writeFile(join(this.paths.runDir, stopMarker), "").catch(() => undefined);
    this.#thaw();
    const { stopSignal } = this.#record.process;
    const asked = { ended: this.ended, pid: this.#init?.pid ?? null, signal: () => this.signal(stopSignal) };
    if (graceMs > 0) await askToEnd(asked, stopSignal, graceMs);
    while (!this.#over) {
      this.#kill();
      await settlesWithin(this.ended, killRepeatMs);
    }
    await this.ended;
  }

  #kill(): void {
    try {
      killAll(this.cgroup);
    } catch (error) {
      // The last process may go, and its cgroup with it, while they are being killed.
      if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
    }
  }

  signal(signal: number): boolean {
    return this.#init !== null && !this.#over && sendSignal(this.#init, signal);
  }

  pause(): Promise<void> {
    return this.#change(async () => {
      this.#refuseWhenOver();
      await freeze(this.cgroup, freezeTimeoutMs);
      this.#paused = true;
    });
  }

  resume(): Promise<void> {
    return this.#change(async () => this.#thaw());
  }

  #thaw(): void {
    if (this.#over || !this.#paused) return;
    thaw(this.cgroup);
    this.#paused = false;
  }

  resize(resources: Resources): Promise<ResizeOutcome> {
    return this.#change(() => this.#resize(resources));
  }

  /** One at a time: each builds on what the one before has left, and a shrink holds the instance still for a moment. */
  #change<T>(work: () => Promise<T>): Promise<T> {
    const next = this.#changing.then(work);
    this.#changing = next.catch(() => undefined);
    return next;
  }

  async #resize(wanted: Resources): Promise<ResizeOutcome> {
    this.#refuseWhenOver();
    const outcome = await resizeInPlace({
      cgroup: this.cgroup,
      mode: this.#host.mode,
      paused: this.#paused,
      current: this.assignment.spec.resources,
      wanted,
      enforcement: this.#host.enforcement,
      capacity: this.#host.capacity(),
    });
    if (outcome.outcome === "applied") {
      await this.#save({ spec: { ...this.assignment.spec, resources: wanted } });
    }
    return outcome;
  }

  /** Takes back a change that an earlier agent left half done. */
  settleLimits(): Promise<void> {
    const { memoryBytes } = this.assignment.spec.resources;
    return this.#change(() => settleMemoryLimit({ cgroup: this.cgroup, mode: this.#host.mode, memoryBytes }));
  }

  usage(): Usage {
    const disk = this.#host.disks.fullness(this.assignment);
    const usage = readUsage(this.cgroup);
    return disk === null ? usage : { ...usage, diskUsedBytes: disk.usedBytes, diskLimitBytes: disk.totalBytes };
  }

  checkContract(): ContractCheck {
    if (this.#init === null || this.#over || !isAlive(this.#init)) return { held: true, violations: [] };
    const { namespaces } = this.assignment;
    const { shares, disks } = this.#host;
    return checkContract(this.cgroup, this.#init, {
      resources: this.assignment.spec.resources,
      cpus: () => this.#host.cpusOf(this),
      mode: this.#host.mode,
      enforcement: this.#host.enforcement,
      disk: (pid) => disks.violation(this.assignment, pid),
      shared: namespaces === undefined ? null : { name: namespaces.name, links: shares.namespaces.linksOf(namespaces) },
    });
  }

  async reshare(wanted: readonly AssignedShare[]): Promise<ShareOutcome[]> {
    if (this.#init === null || this.#over) return [];
    const { shares: store, kernel } = this.#host;
    const run = { instanceId: this.key.instanceId, init: this.#init, cgroup: this.cgroup, store, kernel };
    const { seen, outcomes } = await reshare(run, this.assignment.shares ?? [], wanted);
    await this.#save({ shares: seen });
    return outcomes;
  }

  /** One write at a time: two would use the same draft file. */
  #save(change: Partial<Assignment>): Promise<void> {
    this.#record = { ...this.#record, assignment: { ...this.assignment, ...change } };
    const saved = this.#recorded.then(() => this.#host.saveRecord(this.paths, this.#record));
    this.#recorded = saved.catch(() => undefined);
    return saved;
  }

  async view(from: ViewInstance["seccompFrom"]): Promise<InstanceView> {
    if (this.#init === null || this.#over) throw fleetError("STATE_CONFLICT", "the instance has ended");
    const run = { assignment: this.assignment, cgroup: this.cgroup, init: this.#init, host: this.#host };
    return viewOfRun(run, from);
  }

  async exec(request: ExecRequest): Promise<ExecSession> {
    this.#refuseWhenOver();
    if (this.#paused) throw fleetError("STATE_CONFLICT", "the instance is paused; resume it first");
    if (this.#init === null) throw fleetError("STATE_CONFLICT", "the instance has ended");
    return openExec(request, {
      init: this.#init,
      cgroup: this.cgroup,
      process: this.#record.process,
      options: this.assignment.spec.container,
      openFilesMax: this.#host.openFilesMax,
    });
  }

  async release(): Promise<void> {
    if (!this.#over) throw fleetError("STATE_CONFLICT", "only an ended run can be released");
    await this.#recorded;
    const shimGone = this.#shim === null ? Promise.resolve() : watchExit(this.#shim).exited;
    if (this.assignment.namespaces?.namespaces.includes("pid") === true) {
      // In a pid namespace of others what it left runs on; where there is no cgroup2, its guardian cannot end that.
      await shimGone;
      this.#kill();
    }
    await this.#host.release(this, shimGone);
  }

  #refuseWhenOver(): void {
    if (this.#over) throw fleetError("STATE_CONFLICT", "the instance has ended");
  }
}
