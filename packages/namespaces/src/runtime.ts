import { existsSync } from "node:fs";
import { basename } from "node:path";
import type { AssignedShare, Assignment, Digest, HostFacts, InstanceId } from "@bulkhead/contracts";
import {
  cgroupOfRun,
  type HostNetworks,
  readCapacity,
  type CgroupParents,
  type HostCpus,
  type HostPaths,
  type MountAllowList,
  type PromisedCpus,
} from "@bulkhead/host";
import { removeCgroup } from "@bulkhead/native-namespaces";
import {
  imageFailure,
  StartFailure,
  type LogLine,
  type JailRequest,
  type LogRequest,
  type StartRequest,
  type Runtime,
  type Jail,
} from "@bulkhead/node";
import { giveBackAbandoned } from "./abandoned.ts";
import { adopt } from "./adoption.ts";
import { cpuUserOf, shareCpus } from "./cpu-sharing.ts";
import { hostFacts } from "./facts.ts";
import { imagesInUse } from "./images-in-use.ts";
import { instancePaths, runName, type RunPaths } from "./instance-paths.ts";
import { endUnrecorded } from "./leftover.ts";
import { newestEpochLogs } from "./log-files.ts";
import { readLog } from "./log-reader.ts";
import { namespacesOf } from "./oci-spec.ts";
import { KernelLog } from "./kernel-log.ts";
import { noSnapshots } from "./no-snapshots.ts";
import type { ImageSource, RuntimeLog } from "./ports.ts";
import type { Enforcement } from "./resources.ts";
import { ContainerRun } from "./run.ts";
import type { HostedRun, RunHost } from "./run-host.ts";
import { ReadyProcesses } from "./ready-processes.ts";
import { findRecords, forgetRun, ownersOfCgroups, writeLiveRecord, writeRecord } from "./run-record.ts";
import { openRuntimeParts, readOpenFilesMax, type RuntimeParts } from "./runtime-parts.ts";
import { Trash } from "./trash.ts";
import type { StepListener } from "./start-steps.ts";
import { NamespaceHolders } from "./shares/namespace-holder.ts";
import { scratchDiskProblem, ScratchDisks } from "./scratch-disk.ts";
import { ShareStore } from "./shares/share-store.ts";
import { Starter } from "./starter.ts";
import { Unmounting } from "./unmounting.ts";

export interface ContainerRuntimeOptions {
  readonly paths: HostPaths;
  readonly images: ImageSource;
  readonly mountAllowList: MountAllowList;
  /** instances may have the host's own network; from the agent's own configuration and nowhere else */
  readonly hostNetwork?: boolean;
  readonly log: RuntimeLog;
  /** cgroup of instances and shims, as `openCgroupParents` takes it; default: below this process's own */
  readonly cgroupParent?: string | undefined;
  /** first processes that wait for their containers; each costs some 300 KiB. Default 0 */
  readonly readyProcesses?: number | undefined;
  /** hears the steps of every start, for benchmarks */
  readonly onSteps?: StepListener | undefined;
}

/** Containers on this host's kernel. Closing it leaves every instance running. */
export class ContainerRuntime implements Runtime, Jail, RunHost {
  readonly isolation = "container";
  readonly openFilesMax = readOpenFilesMax();
  readonly kernelLog = new KernelLog();
  readonly snapshot = noSnapshots.snapshot;
  readonly verifySnapshot = noSnapshots.verifySnapshot;
  readonly removeSnapshot = noSnapshots.removeSnapshot;
  readonly #options: ContainerRuntimeOptions;
  readonly #parts: RuntimeParts;
  readonly #cpus: HostCpus;
  readonly #starter: Starter;
  readonly #trash: Trash;
  readonly shares: ShareStore;
  readonly ready: ReadyProcesses;
  readonly disks: ScratchDisks;
  readonly #runs = new Map<string, ContainerRun>();
  readonly #unmounting = new Unmounting();
  /** two runs of one instance would share its writable layer */
  readonly #starting = new Set<InstanceId>();

  private constructor(options: ContainerRuntimeOptions, parts: RuntimeParts) {
    this.#options = options;
    this.#parts = parts;
    this.#cpus = shareCpus({ ...options, parents: parts.parents, runs: () => this.#runs.values() });
    this.#trash = new Trash(options.paths.trash, (path, err) => options.log.warn({ path, err }, "not removed"));
    const holders = new NamespaceHolders({
      paths: options.paths,
      uidRanges: parts.uidRanges,
      enforcement: () => parts.enforcement,
      cgroupOf: (name) => cgroupOfRun(parts.parents, name, false),
    });
    this.disks = new ScratchDisks(options.paths);
    this.shares = new ShareStore(options.paths, holders, this.#trash);
    this.ready = new ReadyProcesses({
      count: options.readyProcesses ?? 0,
      namespaces: namespacesOf(false),
      testing: options.onSteps === undefined ? undefined : { trace: true },
      log: options.log,
      cgroupOf: (name) => cgroupOfRun(parts.parents, name, false),
    });
    this.#starter = new Starter({
      ...options,
      host: this,
      uidRanges: parts.uidRanges,
      networks: parts.networks,
      cpus: this.#cpus,
      trash: this.#trash,
      ready: this.ready,
      cgroupOf: (name, dedicated) => cgroupOfRun(parts.parents, name, dedicated),
    });
  }

  /** Opens the host's directories and cgroups; root only. Rejects when no cgroup hierarchy can be used. */
  static async open(options: ContainerRuntimeOptions): Promise<ContainerRuntime> {
    const runtime = new ContainerRuntime(options, await openRuntimeParts(options.paths, options.cgroupParent));
    await runtime.#cpus.open();
    runtime.#trash.sweep();
    return runtime;
  }

  get mode(): CgroupParents["mode"] {
    return this.#parts.parents.mode;
  }

  get enforcement(): Enforcement {
    return this.#parts.enforcement;
  }

  get parents(): CgroupParents {
    return this.#parts.parents;
  }

  capacity(): { cpuMillis: number; memoryBytes: number } {
    return readCapacity(this.#parts.layout);
  }

  readonly cpusOf = (run: HostedRun): PromisedCpus => this.#cpus.promisedTo(cpuName(run));

  nameOf(instanceId: InstanceId): string | undefined {
    return [...this.#runs.values()].find(({ key }) => key.instanceId === instanceId)?.assignment.name;
  }

  cgroupOwners(): ReadonlyMap<string, InstanceId> {
    return ownersOfCgroups(this.#options.paths);
  }

  async saveRecord(paths: RunPaths, record: ContainerRun["record"]): Promise<void> {
    writeLiveRecord(paths, record);
    await writeRecord(paths.record, record);
  }

  ended(run: HostedRun): void {
    this.#cpus
      .leave(cpuName(run))
      .catch((err: unknown) => this.#options.log.warn({ err, ...run.key }, "CPUs not given back"));
  }

  async facts(): Promise<HostFacts> {
    return hostFacts({
      ...this.#parts,
      mountAllowList: this.#options.mountAllowList,
      networks: this.#parts.packetRules,
      diskProblem: scratchDiskProblem(),
      hostNetwork: this.#options.hostNetwork ?? false,
    });
  }

  async prepare(assignment: Assignment, signal: AbortSignal): Promise<void> {
    try {
      await this.#options.images.ensure(assignment, signal);
    } catch (cause) {
      throw imageFailure(cause);
    }
  }

  async start(request: StartRequest & Partial<JailRequest>, signal: AbortSignal): Promise<ContainerRun> {
    const { instanceId } = request.key;
    const held = [...this.#runs.values()].find(({ key }) => key.instanceId === instanceId);
    if (held !== undefined || this.#starting.has(instanceId)) {
      throw new StartFailure("RuntimeFailed", "an earlier run of this instance was not released yet");
    }
    this.#starting.add(instanceId);
    try {
      await this.#unmounting.of(instanceId);
      const run = await this.#starter.start(request, signal);
      this.#runs.set(cpuName(run), run);
      return run;
    } finally {
      this.#starting.delete(instanceId);
    }
  }

  confine(request: JailRequest, signal: AbortSignal): Promise<ContainerRun> {
    return this.start(request, signal);
  }

  async list(): Promise<ContainerRun[]> {
    const { runs, instances } = await findRecords(this.#options.paths);
    const unknown = runs.filter(({ key }) => !this.#runs.has(`${key.instanceId}.${runName(key)}`));
    for (const found of unknown) {
      const state = await adopt(this.#options.paths, found, this.kernelLog);
      if (state === null) {
        this.#options.log.warn({ ...found.key }, "an unfinished start was undone");
        continue;
      }
      const run = new ContainerRun(this, state);
      this.#runs.set(cpuName(run), run);
      if (!existsSync(run.paths.record)) await writeRecord(run.paths.record, run.record);
      if (run.over) continue;
      this.#cpus.adopt(cpuUserOf(this.#options.paths, run.record));
      await run.settleLimits();
    }
    // An earlier agent's, made before it was known for whom.
    const inUse = new Set(
      [...this.#runs.values()].flatMap(({ cgroup }) => Object.values(cgroup.paths).map((path) => basename(path))),
    );
    await endUnrecorded(this.#parts.parents, {
      isKnown: (instanceId, name) =>
        this.#runs.has(name) || this.#starting.has(instanceId) || this.ready.madeCgroup(name) || inUse.has(name),
      log: this.#options.log,
    });
    await this.#cpus.settle();
    await this.#parts.networks.adopt(
      [...this.#runs.values()]
        .filter((run) => !run.over)
        .map(({ key, paths }) => ({ instanceId: key.instanceId, run: paths.name })),
    );
    const { paths } = this.#options;
    const { uidRanges } = this.#parts;
    await giveBackAbandoned(
      { paths, shares: this.shares, disks: this.disks, uidRanges, trash: this.#trash },
      instances,
    );
    return [...this.#runs.values()];
  }

  async *logs(instanceId: InstanceId, request: LogRequest, signal: AbortSignal): AsyncGenerator<LogLine> {
    const files = newestEpochLogs(instancePaths(this.#options.paths, instanceId).logs);
    const newest = this.#runs.get(`${instanceId}.${files.at(-1)?.name ?? ""}`);
    const ended = newest === undefined || newest.over ? null : newest.ended;
    yield* readLog({ paths: files.map(({ path }) => path), ended }, request, signal);
  }

  /** The networks of this host, for whoever answers names in them. */
  get networks(): HostNetworks {
    return this.#parts.networks;
  }

  async release(run: HostedRun, shimGone: Promise<void>): Promise<void> {
    this.#unmounting.add(run.key.instanceId, shimGone);
    await removeCgroup(run.cgroup);
    if (run.assignment.network !== undefined) {
      this.#parts.networks.leave({ instanceId: run.key.instanceId, run: run.paths.name });
    }
    forgetRun(run.paths);
    this.#runs.delete(cpuName(run));
  }

  async remove(instanceId: InstanceId): Promise<void> {
    const held = [...this.#runs.values()].find(({ key }) => key.instanceId === instanceId);
    if (held !== undefined) throw new Error(`run ${cpuName(held)} was not released`);
    await this.shares.leaveAll(instanceId);
    await this.#starter.discard(instanceId);
  }

  get kernel(): string {
    return this.#parts.features.kernel;
  }

  readonly removeShare = (shareId: string): Promise<void> => this.shares.remove(shareId);

  readonly shareDirectory = (share: AssignedShare): string => this.shares.directoryOf(share);

  /** Resolves when everything removed so far is gone from the disk and the kernel. */
  async settled(): Promise<void> {
    await this.#unmounting.all();
    await this.#parts.networks.settled();
    await this.#trash.settled();
  }

  /** Images that instances of this host run or would run when they start again. */
  readonly imagesInUse = (): Promise<Set<Digest>> => imagesInUse(this.#options.paths);

  /** Lets go at once: instances run on, and what is still to be removed the next runtime finds. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.ready[Symbol.asyncDispose]();
    this.#cpus[Symbol.dispose]();
    this.kernelLog[Symbol.dispose]();
    await this.#parts.networks[Symbol.asyncDispose]();
  }
}

const cpuName = (run: HostedRun): string => `${run.key.instanceId}.${run.paths.name}`;
