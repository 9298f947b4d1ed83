import { existsSync, rmSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import {
  minimumMachineBytes,
  type AssignedShare,
  type Assignment,
  type Digest,
  type HostFacts,
  type InstanceId,
  type SnapshotId,
  type TakenSnapshot,
} from "@bulkhead/contracts";
import type { HostPaths } from "@bulkhead/host";
import type { EnsuredImage } from "@bulkhead/images";
import {
  imageFailure,
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
import { chooseEngine } from "./engine/choose-engine.ts";
import type { Engine, MachineOrigin } from "./engine/engine.ts";
import type { GuestKernels } from "./kernel/guest-kernel.ts";
import type { GuestKernel } from "./kernel/kernel-files.ts";
import { describeMachines, machineFacts } from "./machine-facts.ts";
import { admitNodes, boundNodes } from "./machine-nodes.ts";
import { placesOf } from "./machine-places.ts";
import { machinePaths, machinesOf, type MachinePaths } from "./machine-paths.ts";
import { readMachineRecord, writeMachineRecord, type MachineRecord } from "./machine-record.ts";
import { MachineRun } from "./machine-run.ts";
import { cpusOf, memoryMibOf, monitorAssignment } from "./machine-size.ts";
import { admitShared, sharedDirectories } from "./shared-directories.ts";
import { awaitProgram, makeFiles, wordsOf } from "./machine-start.ts";
import { awaitCopy, identityOf, makeCopyFiles, originOf, undoHalfCopies } from "./snapshot/copy-start.ts";
import { haltOf } from "./snapshot/halt.ts";
import { MachineSnapshots } from "./snapshot/machine-snapshots.ts";
import type { StoredSnapshot } from "./snapshot/snapshot-place.ts";
import { SnapshotStore } from "./snapshot/snapshot-store.ts";
import { UnreadMachine } from "./unread-machine.ts";

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

const idOf = (run: Run): string => `${run.key.instanceId} ${run.key.epoch.era}.${run.key.epoch.n}.${run.key.attempt}`;

/** What a start needs that outlives it. */
interface ReadyMachine {
  /** of the engine's program */
  readonly root: readonly string[];
  /** of the image */
  readonly disk: string;
  readonly process: ProcessPlan;
  readonly origin: MachineOrigin;
  /** null: it boots */
  readonly copied: StoredSnapshot | null;
  readonly kernel: Pick<MachineRecord, "kernel">;
}

/** Virtual machines on this host: each is a monitor in a jail and an image on disks. Closing it leaves them running. */
export class MachineRuntime implements Runtime {
  readonly isolation = "vm";
  readonly #options: MachineRuntimeOptions;
  readonly #disks: ImageDisks;
  readonly #store: SnapshotStore;
  readonly #snapshots: MachineSnapshots;
  readonly #runs = new Map<string, MachineRun>();
  readonly #unread = new Map<string, UnreadMachine>();
  #machines: ReturnType<typeof describeMachines> | null = null;

  constructor(options: MachineRuntimeOptions) {
    this.#options = options;
    this.#disks = new ImageDisks(options.diskRoot);
    this.#store = new SnapshotStore(join(options.paths.state, "snapshots"));
    this.#snapshots = new MachineSnapshots({
      store: this.#store,
      directory: options.paths.state,
      disks: this.#disks,
      runs: this.#runs,
    });
  }

  async facts(): Promise<HostFacts> {
    const { jail } = this.#options;
    return { ...machineFacts(await jail.facts(), await this.#describe()), disk: await this.#snapshots.disk() };
  }

  /** Asked once: neither the host nor what is installed there changes while an agent runs. */
  #describe(): ReturnType<typeof describeMachines> {
    this.#machines ??= describeMachines(this.#options.engines);
    return this.#machines;
  }

  async prepare(assignment: Assignment, signal: AbortSignal): Promise<void> {
    const { instanceId, epoch, imageDigest } = assignment;
    const paths = machinePaths(this.#options.paths, { instanceId, epoch, attempt: 0 }, imageDigest);
    await this.#ready(chooseEngine(await this.#describe(), assignment), { assignment, paths }, signal);
  }

  /** Everything that a start needs of the host and that outlives it. */
  async #ready(
    engine: Engine,
    { assignment, paths }: { readonly assignment: Assignment; readonly paths: MachinePaths },
    signal: AbortSignal,
  ): Promise<ReadyMachine> {
    const { images } = this.#options;
    try {
      const copied = await originOf(this.#store, assignment, paths);
      if (copied !== null) {
        const { place, record } = copied;
        const origin = { state: place.state, memory: place.memory };
        const kernel = record.kernel === undefined ? {} : { kernel: record.kernel };
        const root = await engine.prepare(signal);
        return { root, disk: place.image, process: record.process, origin, copied, kernel };
      }
      const image = await images.ensure(assignment, signal);
      const [disk, root, guest] = await Promise.all([
        this.#disks.ensure(image, signal),
        engine.prepare(signal),
        this.#kernelOf(assignment, signal),
      ]);
      const process = processOf(assignment.spec, image.config, assignment.name);
      const origin = { kernel: guest.image, initramfs: guest.initramfs };
      return { root, disk, process, origin, copied, kernel: { kernel: guest.release } };
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
    const engine = chooseEngine(await this.#describe(), assignment);
    const places = placesOf(assignment, engine, []);
    admitNodes(boundNodes(places), places);
    const paths = machinePaths(host, key, assignment.imageDigest);
    await undoHalfCopies(assignment, paths);
    const { root, disk, process, origin, copied, kernel } = await this.#ready(engine, { assignment, paths }, signal);
    await using undo = new AsyncDisposableStack();
    const known = existsSync(machinesOf(host, key.instanceId));
    undo.defer(() => (known ? rm(paths.run, { recursive: true, force: true }) : jail.remove(key.instanceId)));
    if (copied === null) await makeFiles(paths, assignment, process);
    else {
      // A disk without its memory is no copy: the next start makes both anew.
      undo.defer(() => rm(paths.scratch, { force: true }));
      await makeCopyFiles(paths, this.#store, copied);
    }
    const record: MachineRecord = { assignment, process, engine: engine.name, image: disk, ...kernel };
    await writeMachineRecord(paths.record, record);
    const program = engine.program(root, {
      cpus: cpusOf(resources),
      memoryMib: memoryMibOf(resources),
      cpuIds: assignment.cpuIds,
      memoryPolicy: vm?.memoryPolicy ?? "normal",
      hugepages: vm?.hugepages ?? false,
      tscKhz: (await this.#describe()).tscKhz,
      origin,
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
    const said = () => this.logs(key.instanceId, { follow: false, tailLines: 5 }, AbortSignal.timeout(5_000));
    const begun = { jailed, paths, process, lastWords: () => wordsOf(said()) };
    if (copied === null) await awaitProgram(begun, signal);
    else await awaitCopy({ ...begun, engine, identity: identityOf(assignment) }, signal);
    undo.move();
    return this.#keep(jailed, paths, engine, record);
  }

  #keep(jailed: JailedRun, paths: MachinePaths, engine: Engine, record: MachineRecord): MachineRun {
    const released = (run: MachineRun): void => {
      this.#runs.delete(idOf(run));
      // Its log stays with the jail, its writable disk with the instance.
      rmSync(paths.run, { recursive: true, force: true });
    };
    const directoryOf = (share: AssignedShare): string => this.#options.jail.shareDirectory(share);
    const run = new MachineRun({ jailed, paths, record, engine, directoryOf, released });
    this.#runs.set(idOf(run), run);
    return run;
  }

  async list(): Promise<Run[]> {
    await this.#store.sweep();
    for (const jailed of await this.#options.jail.list()) {
      if (this.#runs.has(idOf(jailed)) || this.#unread.has(idOf(jailed))) continue;
      const paths = machinePaths(this.#options.paths, jailed.key, jailed.assignment.imageDigest);
      if (haltOf(paths) === "identity") {
        this.#options.log.warn({ ...jailed.key }, "a copy that does not know who it is was ended");
        await jailed.stop(0);
        await jailed.release();
      } else this.#adopt(jailed, paths);
    }
    return [...this.#runs.values(), ...this.#unread.values()];
  }

  #adopt(jailed: JailedRun, paths: MachinePaths): void {
    const record = readMachineRecord(paths.record);
    const engine = this.#options.engines.find(({ name }) => name === record?.engine);
    if (record === null || engine === undefined) {
      const why = `its record is ${record === null ? "lost, or " : ""}of a release that this one does not know; it runs on`;
      this.#options.log.warn({ ...jailed.key }, "a machine is kept whose record this agent cannot read");
      const released = (run: UnreadMachine): void => {
        this.#unread.delete(idOf(run));
        rmSync(paths.run, { recursive: true, force: true });
      };
      this.#unread.set(idOf(jailed), new UnreadMachine(jailed, why, released));
      return;
    }
    const run = this.#keep(jailed, paths, engine, record);
    run.goOn().catch((err: unknown) => {
      this.#options.log.warn({ ...jailed.key, err }, "a machine that was taken to files does not go on");
    });
  }

  readonly snapshot = (instanceId: InstanceId, snapshotId: SnapshotId): Promise<TakenSnapshot> =>
    this.#snapshots.take(instanceId, snapshotId);
  readonly verifySnapshot: Runtime["verifySnapshot"] = (id, onRead) => this.#store.verify(id, onRead);
  readonly removeSnapshot = (snapshotId: SnapshotId): Promise<void> => this.#snapshots.remove(snapshotId);

  logs(instanceId: InstanceId, request: LogRequest, signal: AbortSignal): AsyncIterable<LogLine> {
    return this.#options.jail.logs(instanceId, request, signal);
  }

  removeShare(shareId: string): Promise<void> {
    return this.#options.jail.removeShare(shareId);
  }

  remove(instanceId: InstanceId): Promise<void> {
    return this.#options.jail.remove(instanceId);
  }

  /** Images of all instances and snapshots of this host; the disks of others go. */
  async imagesInUse(): Promise<ReadonlySet<Digest>> {
    const inUse = new Set([...(await this.#options.jail.imagesInUse()), ...(await this.#snapshots.images())]);
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
