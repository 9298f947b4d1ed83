import { existsSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  fleetError,
  isFleetError,
  type AssignedShare,
  type Assignment,
  type InstanceMachine,
  type InstanceView,
  type Resources,
  type ShareOutcome,
  type SnapshotId,
  type ViewInstance,
} from "@bulkhead/contracts";
import {
  settlesWithin,
  type ContractCheck,
  type Ended,
  type ExecRequest,
  type ExecSession,
  type JailedRun,
  type ResizeOutcome,
  type Run,
  type RunKey,
  type Usage,
} from "@bulkhead/node";
import { lossOf, noteLoss } from "./directory-servers.ts";
import type { Engine } from "./engine/engine.ts";
import type { GuestChannel } from "./guest/channel.ts";
import { GuestExec } from "./guest/exec.ts";
import { frameTypes } from "./guest/frames.ts";
import { SharedChannel } from "./guest/shared-channel.ts";
import { KeptPlaces } from "./kept-places.ts";
import { machineEnded } from "./machine-ended.ts";
import { instanceMachine } from "./machine-places.ts";
import type { MachinePaths } from "./machine-paths.ts";
import type { MachineRecord } from "./machine-record.ts";
import { MachineSharing } from "./machine-sharing.ts";
import { readReport } from "./report-watch.ts";
import { sharedDirectories, sharedSockets, type SharedDirectory } from "./shared-directories.ts";
import { haltOf } from "./snapshot/halt.ts";
import { RunHalt } from "./snapshot/run-halt.ts";
import type { SnapshotRecord } from "./snapshot/snapshot-record.ts";
import type { SnapshotStore } from "./snapshot/snapshot-store.ts";
import { snapshotBytes, takeSnapshot } from "./snapshot/take-snapshot.ts";
import { channelsOf } from "./view/engine-channels.ts";
import { machineView } from "./view/machine-view.ts";

/** File that says that a stop was asked for, so that the next agent calls it one. */
const stopMarker = "stop-wanted";

export interface MachineRunParts {
  /** the monitor */
  readonly jailed: JailedRun;
  readonly paths: MachinePaths;
  readonly record: MachineRecord;
  readonly engine: Engine;
  /** of this host: where a share's files lie */
  directoryOf(share: AssignedShare): string;
  released(run: MachineRun): void;
}

/** How long the end of a monitor may take to be known once its sockets have closed, in milliseconds. */
const endKnownMs = 500;

/** What stat(2) counts a file's blocks in, whatever the file system. */
const statBlockBytes = 512;

/** One run of one machine: its monitor is a jailed run, and its program is reached through the guest's agent. */
export class MachineRun implements Run {
  readonly key: RunKey;
  readonly startedAt: string;
  readonly ended: Promise<Ended>;
  readonly machine: InstanceMachine;
  readonly #parts: MachineRunParts;
  readonly #guest: SharedChannel;
  readonly #places: KeptPlaces;
  readonly #sharing: MachineSharing;
  readonly #halt: RunHalt;
  #stopWanted: boolean;
  #over = false;

  constructor(parts: MachineRunParts) {
    const { jailed, paths, record, engine } = parts;
    this.key = jailed.key;
    this.startedAt = jailed.startedAt;
    this.machine = instanceMachine(record, engine, jailed.sharedCpus().cpus);
    this.#parts = parts;
    this.#guest = new SharedChannel(() => engine.connect(paths.ports));
    this.#places = new KeptPlaces(jailed, record, engine);
    this.#halt = new RunHalt({ standstill: engine.standstill, paths, talk: this.#order, over: () => this.#over });
    this.#stopWanted = existsSync(join(paths.run, stopMarker));
    this.#sharing = new MachineSharing({
      ...parts,
      directoryOf: (share) => parts.directoryOf(share),
      guest: this.#guest,
      lost: (directory) => this.#lose(directory),
    });
    this.ended = jailed.ended.then((monitor) => this.#endedBy(monitor));
  }

  /** as it is now: without the shares that were taken away */
  get assignment(): Assignment {
    const { assignment } = this.#parts.record;
    return assignment.shares === undefined ? assignment : { ...assignment, shares: this.#sharing.shares };
  }

  get engine(): Engine {
    return this.#parts.engine;
  }

  /** true once its monitor has ended */
  get over(): boolean {
    return this.#over;
  }

  get paused(): boolean {
    return this.#parts.jailed.paused;
  }

  #endedBy(monitor: Ended): Ended {
    this.#over = true;
    this.#sharing.stop();
    return machineEnded({
      monitor,
      outcome: monitor.exit.exitCode === null ? null : this.engine.outcomeOf(monitor.exit.exitCode),
      report: readReport(this.#parts.paths.report),
      stopWanted: this.#stopWanted,
      lostDirectory: lossOf(this.#parts.paths),
      memoryBytes: this.assignment.spec.resources.memoryBytes,
    });
  }

  /** Its programs would wait for ever for what nobody serves. */
  #lose({ path }: SharedDirectory): void {
    if (this.#over) return;
    noteLoss(this.#parts.paths, path);
    this.#parts.jailed.stop(0).catch(() => undefined);
  }

  /** A disk that takes no note of it leaves a later agent's word for its end without its reason. */
  #noteStop(): void {
    try {
      writeFileSync(join(this.#parts.paths.run, stopMarker), "");
    } catch {
      // It is stopped all the same.
    }
  }

  async stop(graceMs: number): Promise<void> {
    if (this.#over) return;
    this.#stopWanted = true;
    this.#noteStop();
    if (this.paused) await this.#parts.jailed.resume();
    if (graceMs > 0) {
      this.signal(this.#parts.record.process.stopSignal);
      await settlesWithin(this.ended, graceMs);
    }
    if (!this.#over) await this.#parts.jailed.stop(0);
    await this.ended;
  }

  signal(signal: number): boolean {
    if (this.#over) return false;
    this.#guest.talk((channel) => channel.sendNumber(frameTypes.signal, 0, signal)).catch(() => undefined);
    return true;
  }

  readonly #order = (say: (channel: GuestChannel) => Promise<void>): Promise<void> => this.#guest.talk(say);

  async pause(): Promise<void> {
    this.#refuseWhenOver();
    if (this.#halt.held) throw fleetError("STATE_CONFLICT", "a snapshot of the instance is being taken; try again");
    return this.#parts.jailed.pause();
  }

  resume(): Promise<void> {
    return this.#parts.jailed.resume();
  }

  /**
   * Takes it to files of `store`; it goes on. Rejects SNAPSHOT_UNSUPPORTED, STATE_CONFLICT, RUNTIME_FAILED,
   * SNAPSHOT_NO_ROOM, SNAPSHOT_STANDSTILL. `imageDisk` is where an agent before this one had its image's disk.
   */
  async snapshot(store: SnapshotStore, snapshotId: SnapshotId, imageDisk: string): Promise<SnapshotRecord> {
    this.#refuseWhenOver();
    const { engine, paths, record } = this.#parts;
    const { standstill } = engine;
    if (standstill === null) {
      throw fleetError("SNAPSHOT_UNSUPPORTED", `the engine ${engine.name} takes no machine to files; kvm does`);
    }
    if (sharedDirectories(this.assignment).length + sharedSockets(this.assignment).length > 0) {
      const why = "the instance sees shares or directories of its host, whose servers are no part of its machine";
      throw fleetError("SNAPSHOT_UNSUPPORTED", why);
    }
    if (this.paused) throw fleetError("STATE_CONFLICT", "the instance is paused; resume it first");
    const image = record.image ?? imageDisk;
    const machine = { standstill, paths, record, image, engine: engine.name, talk: this.#order, halt: this.#halt };
    return store.make(snapshotId, snapshotBytes(machine), (draft) => takeSnapshot(machine, snapshotId, draft));
  }

  /** Of a machine that the agent before left in the middle of something: it goes on. Rejects SNAPSHOT_STANDSTILL. */
  async goOn(): Promise<void> {
    if (haltOf(this.#parts.paths) === "thaw") await this.#halt.goOn();
    await this.#sharing.settle();
  }

  resize(_resources: Resources): Promise<ResizeOutcome> {
    this.#refuseWhenOver();
    const detail = "a VM has the processors and memory it started with; replace the workload to change them";
    return Promise.resolve({ outcome: "infeasible", detail });
  }

  /** As the host sees it: the monitor's, of memory the guest's own limit, of its disk what that takes of the host's. */
  usage(): Usage {
    const { size, blocks } = statSync(this.#parts.paths.scratch);
    return {
      ...this.#parts.jailed.usage(),
      memoryLimitBytes: this.assignment.spec.resources.memoryBytes,
      diskUsedBytes: blocks * statBlockBytes,
      diskLimitBytes: size,
    };
  }

  /** The monitor's limits, its machine's places, and what carries its sockets. */
  checkContract(): ContractCheck {
    const { jailed } = this.#parts;
    const limits = jailed.checkContract();
    if (jailed.pid === null) return limits;
    const { problem } = this.#sharing;
    const sockets = problem === null ? [] : [`the sockets of its shares are not carried: ${problem}`];
    const stuck = this.#halt.stuck === null ? [] : [this.#halt.stuck];
    const violations = [...limits.violations, ...this.#places.check(), ...sockets, ...stuck];
    return { held: violations.length === 0, violations };
  }

  reshare(wanted: readonly AssignedShare[]): Promise<ShareOutcome[]> {
    this.#refuseWhenOver();
    return this.#sharing.reshare(wanted);
  }

  /** What its monitor can see, through which the guest reaches whatever it reaches of the host, and its channels to it. */
  async view(from: ViewInstance["seccompFrom"]): Promise<InstanceView> {
    const { engine, jailed, paths } = this.#parts;
    const view = await jailed.view(from);
    try {
      const told = await channelsOf(engine.name, paths.ports, view.pid);
      const channels = [...told.channels, ...this.#sharing.channels];
      return { ...view, machine: await machineView(engine.name, view.pid, { ...told, channels }) };
    } catch (cause) {
      throw this.#over ? fleetError("STATE_CONFLICT", "the instance has ended", { cause }) : cause;
    }
  }

  async exec(request: ExecRequest): Promise<ExecSession> {
    this.#refuseWhenOver();
    if (this.paused) throw fleetError("STATE_CONFLICT", "the instance is paused; resume it first");
    if (this.#halt.stuck !== null) throw fleetError("STATE_CONFLICT", this.#halt.stuck);
    try {
      return await this.#guest.use((channel) => GuestExec.open(channel, request, this.#parts.record.process));
    } catch (cause) {
      // A guest that is gone answers nothing, and its monitor's end is known a moment later.
      const ended =
        isFleetError(cause) && cause.code === "RUNTIME_FAILED" && (await settlesWithin(this.ended, endKnownMs));
      throw ended ? fleetError("STATE_CONFLICT", "the instance has ended", { cause }) : cause;
    }
  }

  async release(): Promise<void> {
    if (!this.#over) throw fleetError("STATE_CONFLICT", "only an ended run can be released");
    await this.#parts.jailed.release();
    this.#parts.released(this);
  }

  /** Lets go of the guest, which runs on. */
  async leave(): Promise<void> {
    this.#halt.leave();
    this.#sharing.stop();
    await this.#guest.leave();
  }

  #refuseWhenOver(): void {
    if (this.#over) throw fleetError("STATE_CONFLICT", "the instance has ended");
  }
}
