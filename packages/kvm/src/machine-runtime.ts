import { existsSync, rmSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import {
  minimumMachineBytes,
  type Assignment,
  type Digest,
  type HostFacts,
  type InstanceId,
} from "@bulkhead/contracts";
import type { HostPaths } from "@bulkhead/host";
import type { EnsuredImage } from "@bulkhead/images";
import {
  imageFailure,
  processFailure,
  processOf,
  StartFailure,
  type Jail,
  type JailedRun,
  type LogLine,
  type LogRequest,
  type ProcessPlan,
  type Run,
  type Runtime,
  type StartRequest,
} from "@bulkhead/node";
import { ImageDisks } from "./disk/image-disk.ts";
import { ensureScratchDisk, makeSmallDisk } from "./disk/scratch-disk.ts";
import type { Engine } from "./engine/engine.ts";
import { errnoName } from "./guest/exec.ts";
import { encodeSettings } from "./guest/settings.ts";
import type { GuestKernels } from "./kernel/guest-kernel.ts";
import type { GuestKernel } from "./kernel/kernel-files.ts";
import { describeMachines, machineFacts } from "./machine-facts.ts";
import { machinePaths, machinesOf, type MachinePaths } from "./machine-paths.ts";
import { readMachineRecord, writeMachineRecord, type MachineRecord } from "./machine-record.ts";
import { MachineRun } from "./machine-run.ts";
import { cpusOf, memoryMibOf, monitorAssignment } from "./machine-size.ts";
import { admitShared, sharedDirectories } from "./shared-directories.ts";
import { firstReport } from "./report-watch.ts";

export interface MachineRuntimeOptions {
  readonly paths: HostPaths;
  readonly jail: Jail;
  /** the best first */
  readonly engines: readonly Engine[];
  readonly kernels: Pick<GuestKernels, "current" | "known" | "ofImage" | "collect">;
  readonly images: { ensure(assignment: Assignment, signal: AbortSignal): Promise<EnsuredImage> };
  /** where the images' disks lie */
  readonly diskRoot: string;
  readonly log: { warn(fields: object, message: string): void };
}

/** Size of an instance's writable disk, in bytes; sparse. */
const scratchBytes = 16 * 2 ** 30;
/** How long a machine may take until its program runs, in milliseconds: emulation on a busy host is slow. */
const bootMs = 180_000;
const defaultPidsMax = 1024;

const idOf = (run: Run): string => `${run.key.instanceId} ${run.key.epoch.era}.${run.key.epoch.n}.${run.key.attempt}`;

/** Virtual machines on this host: each is a monitor in a jail and an image on disks. Closing it leaves them running. */
export class MachineRuntime implements Runtime {
  readonly isolation = "vm";
  readonly #options: MachineRuntimeOptions;
  readonly #disks: ImageDisks;
  readonly #runs = new Map<string, MachineRun>();
  #machines: ReturnType<typeof describeMachines> | null = null;

  constructor(options: MachineRuntimeOptions) {
    this.#options = options;
    this.#disks = new ImageDisks(options.diskRoot);
  }

  async facts(): Promise<HostFacts> {
    const { jail } = this.#options;
    return machineFacts(await jail.facts(), await this.#describe());
  }

  /** Asked once: neither the host nor what is installed there changes while an agent runs. */
  #describe(): ReturnType<typeof describeMachines> {
    this.#machines ??= describeMachines(this.#options.engines);
    return this.#machines;
  }

  /** The one that a workload asks for, or the best. Rejects StartFailure when this host has none. */
  async #engineOf(assignment: Assignment): Promise<Engine> {
    const { spec } = assignment;
    const { usable, problems } = await this.#describe();
    const { engine: wanted, memoryPolicy, hugepages } = spec.vm ?? {};
    const found = wanted === undefined ? usable[0] : usable.find(({ name }) => name === wanted);
    if (found !== undefined) {
      if (!found.holdsShares && sharedDirectories(assignment).length > 0) {
        const what = `the engine ${found.name} cannot let a machine see shares and directories of this host`;
        throw new StartFailure("RuntimeFailed", what);
      }
      if (found.holdsPlaces || (memoryPolicy !== "locked" && hugepages !== true)) return found;
      const what = `the engine ${found.name} cannot lock a machine's memory or give it large pages`;
      throw new StartFailure("ResourceExhausted", what);
    }
    const what = wanted === undefined ? "no engine for virtual machines" : `no engine ${wanted}`;
    throw new StartFailure("RuntimeFailed", `this host has ${what}: ${problems.join("; ")}`);
  }

  async prepare(assignment: Assignment, signal: AbortSignal): Promise<void> {
    await this.#ready(await this.#engineOf(assignment), assignment, signal);
  }

  /** Everything that a start needs of the host and that outlives it. */
  async #ready(engine: Engine, assignment: Assignment, signal: AbortSignal) {
    const { images } = this.#options;
    try {
      const image = await images.ensure(assignment, signal);
      const [disk, root, guest] = await Promise.all([
        this.#disks.ensure(image, signal),
        engine.prepare(signal),
        this.#kernelOf(assignment, signal),
      ]);
      return { image, disk, root, guest };
    } catch (cause) {
      throw imageFailure(cause);
    }
  }

  /** The one that the fleet's assignment names, by its image's digest, or Debian's own. */
  async #kernelOf(assignment: Assignment, signal: AbortSignal): Promise<GuestKernel> {
    const { images, kernels } = this.#options;
    const imageDigest = assignment.spec.vm?.kernel as Digest | undefined;
    if (imageDigest === undefined) return kernels.current();
    const known = kernels.known(imageDigest);
    if (known !== undefined) return known;
    const { layers } = await images.ensure({ ...assignment, imageDigest }, signal);
    return kernels.ofImage(imageDigest, layers);
  }

  async start({ key, assignment }: StartRequest, signal: AbortSignal): Promise<Run> {
    signal.throwIfAborted();
    const { jail, paths: host } = this.#options;
    const { resources, vm } = assignment.spec;
    if (resources.memoryBytes < minimumMachineBytes) {
      throw new StartFailure(
        "ResourceExhausted",
        `a VM holds a kernel of its own and needs ${minimumMachineBytes} bytes at least, not ${resources.memoryBytes}`,
      );
    }
    admitShared(assignment);
    const engine = await this.#engineOf(assignment);
    const { image, disk, root, guest } = await this.#ready(engine, assignment, signal);
    const process = processOf(assignment.spec, image.config, assignment.name);
    const paths = machinePaths(host, key, assignment.imageDigest);
    await using undo = new AsyncDisposableStack();
    const known = existsSync(machinesOf(host, key.instanceId));
    undo.defer(() => (known ? rm(paths.run, { recursive: true, force: true }) : jail.remove(key.instanceId)));
    await this.#makeFiles(paths, assignment, process);
    const record: MachineRecord = { assignment, process, engine: engine.name, kernel: guest.release };
    await writeMachineRecord(paths.record, record);
    const program = engine.program(root, {
      cpus: cpusOf(resources),
      memoryMib: memoryMibOf(resources),
      cpuIds: assignment.cpuIds,
      memoryPolicy: vm?.memoryPolicy ?? "normal",
      hugepages: vm?.hugepages ?? false,
      tscKhz: (await this.#describe()).tscKhz,
      kernel: guest.image,
      initramfs: guest.initramfs,
      disks: { image: disk, scratch: paths.scratch, settings: paths.settings, report: paths.report },
      card: assignment.network === undefined ? null : { mac: assignment.network.mac, mtu: assignment.network.mtu },
      ports: paths.ports,
      shared: sharedDirectories(assignment),
    });
    const request = { key, assignment: monitorAssignment(assignment, engine), program };
    const jailed = await jail.confine(request, signal);
    undo.defer(async () => {
      await jailed.stop(0);
      await jailed.release();
    });
    await this.#awaitProgram(jailed, paths, process, signal);
    undo.move();
    return this.#keep(jailed, paths, engine, record);
  }

  async #makeFiles(paths: MachinePaths, assignment: Assignment, process: ProcessPlan): Promise<void> {
    const { spec, name, network } = assignment;
    await rm(paths.run, { recursive: true, force: true });
    await mkdir(paths.ports, { recursive: true, mode: 0o700 });
    // The monitor's user passes through to its files, which are opened by name in its own root only.
    await ensureScratchDisk(paths.scratch, spec.resources.diskBytes ?? scratchBytes);
    await makeSmallDisk(paths.report);
    const settings = encodeSettings({
      process,
      hostname: name,
      network,
      pidsMax: spec.resources.pidsMax ?? defaultPidsMax,
      tmpfs: spec.tmpfs ?? [],
      shared: sharedDirectories(assignment),
    });
    await writeFile(paths.settings, settings, { mode: 0o644 });
  }

  /** Resolves when the guest says that its program runs, or that it ran; rejects StartFailure. */
  async #awaitProgram(jailed: Run, paths: MachinePaths, process: ProcessPlan, signal: AbortSignal): Promise<void> {
    const given = new AbortController();
    const late = AbortSignal.timeout(bootMs);
    const watching = firstReport(paths.report, AbortSignal.any([signal, given.signal, late]));
    const gone = jailed.ended.then(() => null);
    try {
      const report = (await Promise.race([watching, gone])) ?? (await settled(watching));
      if (report?.state === "running" || report?.state === "ended") return;
      if (report === null) {
        const { detail } = await jailed.ended;
        const what = await this.#lastWords(jailed);
        throw new StartFailure("RuntimeFailed", `the machine ended before its program ran (${detail ?? ""})${what}`);
      }
      const code = errnoName(report.errno);
      const known = processFailure({ step: report.step, code }, process);
      const detail = known?.detail ?? `the guest could not start it (${report.step} ${report.path}: ${code})`;
      throw new StartFailure(known?.reason ?? "RuntimeFailed", detail);
    } catch (cause) {
      if (late.aborted) {
        throw new StartFailure("RuntimeFailed", `the program did not run within ${bootMs / 1000} s of the boot`, cause);
      }
      throw cause instanceof StartFailure ? cause : new StartFailure("RuntimeFailed", "the start was abandoned", cause);
    } finally {
      given.abort();
      watching.catch(() => undefined);
    }
  }

  async #lastWords({ key }: Run): Promise<string> {
    const request = { follow: false, tailLines: 5 };
    const lines = await Array.fromAsync(this.logs(key.instanceId, request, AbortSignal.timeout(5_000))).catch(() => []);
    return lines.length === 0 ? "" : `: ${lines.map(({ text }) => Buffer.from(text).toString()).join(" / ")}`;
  }

  #keep(jailed: JailedRun, paths: MachinePaths, engine: Engine, record: MachineRecord): MachineRun {
    const released = (run: MachineRun): void => {
      this.#runs.delete(idOf(run));
      // Its log stays with the jail, its writable disk with the instance.
      rmSync(paths.run, { recursive: true, force: true });
    };
    const run = new MachineRun({ jailed, paths, record, engine, released });
    this.#runs.set(idOf(run), run);
    return run;
  }

  async list(): Promise<Run[]> {
    for (const jailed of await this.#options.jail.list()) {
      if (this.#runs.has(idOf(jailed))) continue;
      const paths = machinePaths(this.#options.paths, jailed.key, jailed.assignment.imageDigest);
      const record = readMachineRecord(paths.record);
      const engine = this.#options.engines.find(({ name }) => name === record?.engine);
      if (record === null || engine === undefined) {
        this.#options.log.warn({ ...jailed.key }, "a machine without a record was ended");
        await jailed.stop(0);
        await jailed.release();
        continue;
      }
      this.#keep(jailed, paths, engine, record);
    }
    return [...this.#runs.values()];
  }

  logs(instanceId: InstanceId, request: LogRequest, signal: AbortSignal): AsyncIterable<LogLine> {
    return this.#options.jail.logs(instanceId, request, signal);
  }

  removeShare(shareId: string): Promise<void> {
    return this.#options.jail.removeShare(shareId);
  }

  remove(instanceId: InstanceId): Promise<void> {
    return this.#options.jail.remove(instanceId);
  }

  /** Images of all instances of this host; the disks of others go. */
  async imagesInUse(): Promise<ReadonlySet<Digest>> {
    const inUse = await this.#options.jail.imagesInUse();
    await this.#disks.collect(inUse);
    await this.#options.kernels.collect(
      new Set([...this.#runs.values()].flatMap(({ assignment }) => assignment.spec.vm?.kernel ?? [])),
    );
    return inUse;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#runs.values()].map((run) => run.leave()));
    await this.#options.jail[Symbol.asyncDispose]();
  }
}

/** What a promise has come to by now, without waiting for it; null while it has not. */
const settled = async <T>(promise: Promise<T>): Promise<T | null> => Promise.race([promise, Promise.resolve(null)]);
