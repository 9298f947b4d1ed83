import { existsSync, mkdirSync } from "node:fs";
import { rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Assignment, InstanceId } from "@bulkhead/contracts";
import { readBootId, type HostCpus, type HostPaths, type MountAllowList } from "@bulkhead/host";
import {
  compilePlan,
  killAll,
  PreparedStart,
  NativeError,
  removeCgroup,
  watchExit,
  type Plan,
} from "@bulkhead/native-namespaces";
import {
  imageFailure,
  processOf,
  StartFailure,
  type JailedProgram,
  type JailRequest,
  type ProcessPlan,
  type RunKey,
  type StartRequest,
} from "@bulkhead/node";
import { admitMounts, admitNetwork, admitTmpfs } from "./admission.ts";
import { cpuUserOf, isDedicated, refuseFor } from "./cpu-sharing.ts";
import { writeInstanceFiles } from "./instance-files.ts";
import { InstanceNetwork } from "./instance-network.ts";
import { giveFiles, processOfProgram } from "./jailed-program.ts";
import { directoriesOfInstance, instancePaths, runPaths, scratchOf, type RunPaths } from "./instance-paths.ts";
import { keptRunLogs, listRunLogs, logMaxBytes, logMaxFiles, generationsOf } from "./log-files.ts";
import { leaseMsOf } from "./lease.ts";
import { endLeftover } from "./leftover.ts";
import { withMountPoints } from "./mount-points.ts";
import { buildSpec, confinementOf, namespacesOf } from "./oci-spec.ts";
import { ociResources } from "./resources.ts";
import type { ReadyProcesses } from "./ready-processes.ts";
import { ContainerRun } from "./run.ts";
import type { RuntimeParts } from "./runtime-parts.ts";
import type { RunHost } from "./run-host.ts";
import { forgetRun, keyOf, writeLiveRecord, writeRecord, type RunRecord } from "./run-record.ts";
import { refuseSamePlaces } from "./places.ts";
import type { ImageSource, RuntimeLog } from "./ports.ts";
import { hostnameOf, openNamespaces } from "./shares/open-namespaces.ts";
import { openShares } from "./shares/open-shares.ts";
import type { Trash } from "./trash.ts";
import { StartSteps, type StepListener } from "./start-steps.ts";
import { settlesWithin } from "@bulkhead/node";
import { startFailure } from "./start-failure.ts";

export interface StarterOptions extends Pick<RuntimeParts, "uidRanges" | "networks"> {
  readonly paths: HostPaths;
  readonly images: ImageSource;
  readonly mountAllowList: MountAllowList;
  readonly log: RuntimeLog;
  readonly host: RunHost;
  readonly hostNetwork?: boolean;
  readonly cpus: HostCpus;
  readonly trash: Trash;
  readonly ready: ReadyProcesses;
  /** hears the steps of every start, for benchmarks */
  readonly onSteps?: StepListener | undefined;
  cgroupOf(name: string, dedicated: boolean): Readonly<Record<string, string>>;
}

/** A run that ends sooner is not written to disk, in milliseconds: each record waits for the disk to be flushed. */
const shortRunMs = 50;

/** Turns an assignment into a running container, or into nothing. */
export class Starter {
  readonly #options: StarterOptions;

  constructor(options: StarterOptions) {
    this.#options = options;
  }

  /** Resolves when the entrypoint runs. Rejects StartFailure with everything undone that this start had begun. */
  async start(
    { key, assignment, program }: StartRequest & Partial<JailRequest>,
    signal: AbortSignal,
  ): Promise<ContainerRun> {
    let process: ProcessPlan | null = null;
    try {
      signal.throwIfAborted();
      if (program !== undefined) {
        process = processOfProgram(program);
        return await this.#startPrepared({ key, assignment, layers: program.root, process, program, signal });
      }
      const { config, layers } = await this.#options.images.ensure(assignment, signal).catch((cause: unknown) => {
        throw imageFailure(cause);
      });
      process = processOf(assignment.spec, config, hostnameOf(assignment));
      return await this.#startPrepared({ key, assignment, layers, process, signal });
    } catch (cause) {
      throw startFailure(cause, process);
    }
  }

  async #startPrepared(wanted: {
    key: RunKey;
    assignment: Assignment;
    layers: readonly string[];
    process: ProcessPlan;
    program?: JailedProgram;
    signal: AbortSignal;
  }): Promise<ContainerRun> {
    const { key, assignment, layers, process, program, signal } = wanted;
    const { paths: host, host: runHost } = this.#options;
    admitNetwork(assignment, this.#options.hostNetwork ?? false);
    const mounts = admitMounts(assignment.spec, this.#options.mountAllowList);
    const tmpfs = admitTmpfs(assignment.spec);
    const paths = runPaths(host, key);
    const steps = new StartSteps(this.#options.onSteps);
    const name = `${key.instanceId}.${paths.name}`;
    const hostNetwork = assignment.spec.network === "host";
    // One with CPUs of its own lies in another place, and a program of ours is given descriptors at birth.
    const { namespaces } = assignment;
    const isUsual = program === undefined && namespaces === undefined && !isDedicated(assignment);
    const ready = isUsual ? this.#options.ready.take(namespacesOf(hostNetwork)) : null;
    await using born = ready?.prepared ?? null;
    const cgroup = ready?.cgroup ?? this.#options.cgroupOf(name, isDedicated(assignment));
    await using undo = new AsyncDisposableStack();
    using network = new InstanceNetwork({
      networks: this.#options.networks,
      assignment,
      run: paths.name,
      program,
      undo,
    });
    steps.begin("CPUs");
    undo.defer(() => this.#options.cpus.leave(name));
    const sharesCpus = program?.sharesCpus === true && isDedicated(assignment);
    const user = cpuUserOf(host, { ...key, assignment, cgroup, cpuIds: assignment.cpuIds, sharesCpus });
    refuseFor(await this.#options.cpus.enter(user));
    steps.begin("ask for the process");
    // The first process is made while the rest is made here, and ends when this agent does before it has its plan. One
    // that enters namespaces of others is born in them, and one that gets a card has it from birth.
    const birth = { namespaces: namespacesOf(hostNetwork), cgroup: { paths: cgroup }, testing: steps.testing };
    const ahead = namespaces === undefined && !network.hasCard;
    await using prepared = born ?? new PreparedStart(ahead ? { birth } : {});
    steps.begin("directories and ids");
    const scratch = this.#openDirectories(assignment, paths, undo);
    await this.#options.host.disks.open(assignment);
    using membership = await openNamespaces(this.#options.host, assignment);
    const uidRange = membership?.uidRange ?? this.#options.uidRanges.allocate(key.instanceId);
    giveFiles(program?.files ?? [], uidRange);
    steps.begin("record");
    const record: RunRecord = {
      bootId: readBootId(),
      assignment,
      attempt: key.attempt,
      cgroup,
      process,
      uidRange,
      cpuIds: assignment.cpuIds,
      sharesCpus,
    };
    mkdirSync(paths.runDir, { recursive: true, mode: 0o700 });
    writeLiveRecord(paths, record);
    refuseFor(await this.#options.cpus.refusal(name));
    await network.prepare(membership?.open);
    steps.begin("files and shares");
    const seen = { hostname: hostnameOf(assignment), network: assignment.network, resolvConf: membership?.resolvConf };
    const files = writeInstanceFiles(paths.runDir, seen);
    const shares = [...(await openShares(this.#options.host, assignment)), ...(membership?.mounts ?? [])];
    refuseSamePlaces([...mounts, ...tmpfs, ...shares].map(({ path }) => path));
    // A shared one has its group's. What is shared may be another by the time that it runs: it is told again (`begun`).
    const cpuIds = isDedicated(assignment) ? [...assignment.cpuIds, ...this.#options.cpus.promisedTo(name).shared] : [];
    steps.begin("specification");
    const built = buildSpec({
      hostname: assignment.name,
      joins: membership?.open.joins() ?? [],
      process,
      resources: ociResources(assignment.spec.resources, cpuIds, runHost.enforcement),
      uidRange,
      mounts,
      tmpfs,
      shares,
      files,
      jail: program,
      options: assignment.spec.container,
      hostNetwork,
      openFilesMax: runHost.openFilesMax,
    });
    const leaseMs = leaseMsOf(assignment);
    steps.begin("compile the plan");
    const plan = compilePlan({
      spec: built.spec,
      rootfs: {
        kind: "overlay",
        layers: withMountPoints(layers, host.mountPoints),
        upper: join(scratch, "upper"),
        work: join(scratch, "work"),
      },
      cgroup: { paths: record.cgroup },
      runDir: paths.runDir,
      log: { path: paths.log, maxBytes: logMaxBytes, maxFiles: logMaxFiles },
      lease: leaseMs === null ? null : { page: host.leasePage, leaseMs },
      imageUser: process.user,
      ...confinementOf(assignment.spec.container),
      binds: built.binds,
      awaitNetwork: network.hasLink,
      descriptors: network.descriptors.length,
      testing: steps.testing,
    });
    steps.begin("hand over and wait");
    return await this.#launch({ plan, prepared, record, paths, signal, network, undo, steps });
  }

  async #launch(options: {
    plan: Plan;
    prepared: PreparedStart;
    record: RunRecord;
    paths: RunPaths;
    signal: AbortSignal;
    network: InstanceNetwork;
    undo: AsyncDisposableStack;
    steps: StartSteps;
  }): Promise<ContainerRun> {
    const { plan, prepared, record, paths, signal, network, undo, steps } = options;
    if (plan.warnings.length > 0) this.#options.log.warn({ ...keyOf(record), warnings: plan.warnings }, "plan");
    signal.throwIfAborted();
    const cgroup = { paths: record.cgroup };
    const started = await prepared
      .run(plan, (pid) => network.connect(pid), network.descriptors)
      .catch(async (error: unknown) => {
        // A shim that reports has undone everything; one that was killed has left whatever it had made.
        if (error instanceof NativeError && (error.step === "shim" || error.step === "spawn"))
          await endLeftover(cgroup);
        throw error;
      });
    if (signal.aborted) {
      killAll(cgroup);
      using ending = watchExit(started.shim);
      await ending.exited;
      await removeCgroup(cgroup);
      throw new StartFailure("RuntimeFailed", "the start was abandoned", signal.reason);
    }
    undo.move();
    steps.done(started.timings);
    await this.#options.cpus.begun(cpuUserOf(this.#options.paths, record).name).catch((err: unknown) => {
      // The check of its contract finds what it lacks.
      this.#options.log.warn({ err, ...keyOf(record) }, "CPUs not given");
    });
    return new ContainerRun(this.#options.host, {
      record,
      paths,
      startedAtUnixMs: started.startedAtUnixMs,
      paused: false,
      stopWanted: false,
      keep: (ended) => this.#afterwards(record, paths, ended),
      fate: started,
    });
  }

  /**
   * What need not delay the start: logs of old runs removed, the record on disk. A run that is over before its record
   * is written needs none: what stays of it is its exit, and the per-boot directory has that. Never rejects.
   */
  async #afterwards(record: RunRecord, paths: RunPaths, ended: Promise<unknown>): Promise<void> {
    try {
      const logs = listRunLogs(dirname(paths.log));
      for (const { path } of logs.slice(0, Math.max(0, logs.length - keptRunLogs))) {
        for (const file of generationsOf(path)) await rm(file, { force: true });
      }
      if (await settlesWithin(ended, shortRunMs)) return;
      await writeRecord(paths.record, record);
    } catch (err) {
      this.#options.log.warn({ err, ...keyOf(record) }, "after a start");
    }
  }

  /** A new instance's directories are undone with its first start; an old one's belong to it. Answers its scratch. */
  #openDirectories(assignment: Assignment, paths: RunPaths, undo: AsyncDisposableStack): string {
    const { instanceId, imageDigest } = assignment;
    const instance = instancePaths(this.#options.paths, instanceId);
    if (!existsSync(instance.root)) {
      undo.defer(() => this.discard(instanceId));
      this.#options.trash.take(instance.root);
    }
    undo.defer(() => forgetRun(paths));
    // At once: each is some 30 µs in the page cache, and a turn through the thread pool costs several times that.
    for (const path of [scratchOf(this.#options.paths, instanceId, imageDigest), instance.logs]) {
      mkdirSync(path, { recursive: true, mode: 0o700 });
    }
    return this.#options.host.disks.placeOf(assignment);
  }

  /** Moves an instance's directory away at once; its id range is free when nothing on disk belongs to it any more. */
  async discard(instanceId: InstanceId): Promise<void> {
    await this.#options.host.disks.close(instanceId);
    const { root } = instancePaths(this.#options.paths, instanceId);
    this.#options.trash.put(root, {
      kept: directoriesOfInstance,
      afterwards: () => this.#options.uidRanges.free(instanceId),
    });
  }
}
