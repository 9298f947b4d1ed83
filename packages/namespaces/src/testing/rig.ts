import { randomBytes } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import {
  uuidV7,
  type AssignedShare,
  type Assignment,
  type Digest,
  type HostId,
  type InstanceId,
  type WorkloadId,
  type WorkloadSpec,
} from "@bulkhead/contracts";
import {
  closeMountArea,
  hostPaths,
  leaksBetween,
  MountAllowList,
  removeCgroupParents,
  snapshotHost,
  type HostPaths,
  type HostSnapshot,
} from "@bulkhead/host";
import { BlobStore, importArchive, LayerStore, type EnsuredImage } from "@bulkhead/images";
import type { Run, RunKey } from "@bulkhead/node";
import type { ContainerRun } from "../run.ts";
import { ContainerRuntime } from "../runtime.ts";
import type { StepListener } from "../start-steps.ts";

export type { StartStep } from "../start-steps.ts";

/** A tmpfs that every Linux has. */
const tmpfs = "/dev/shm";

const newId = (): string => uuidV7(Date.now(), randomBytes(10));

/** Spec without what every test would repeat. */
export type SpecChanges = Omit<Partial<WorkloadSpec>, "resources"> & {
  resources?: Partial<WorkloadSpec["resources"]>;
};

/** A host of its own in temporary directories, with a real image store, that checks for leaks when it is closed. */
export class Rig implements AsyncDisposable {
  readonly root: string;
  readonly paths: HostPaths;
  readonly #blobs: BlobStore;
  readonly #layers: LayerStore;
  readonly #image: EnsuredImage | null;
  readonly #ensured = new Map<Digest, EnsuredImage>();
  readonly #allowed: string;
  readonly #before: HostSnapshot;
  readonly warnings: { fields: object; message: string }[] = [];
  runtime!: ContainerRuntime;

  private constructor(parts: {
    root: string;
    paths: HostPaths;
    blobs: BlobStore;
    layers: LayerStore;
    image: EnsuredImage | null;
    allowed: string;
    before: HostSnapshot;
  }) {
    this.root = parts.root;
    this.paths = parts.paths;
    this.#blobs = parts.blobs;
    this.#layers = parts.layers;
    this.#image = parts.image;
    this.#allowed = parts.allowed;
    this.#before = parts.before;
  }

  /**
   * `allowed`: the mount allow-list, `$ROOT` standing for the rig's own directory. `image`: what every instance runs,
   * unpacked by another rig that outlives this one. `parent`: where its directories lie, on a file system of the test's.
   */
  static async open(options: { allowed?: string; image?: EnsuredImage; parent?: string } = {}): Promise<Rig> {
    const root = await mkdtemp(join(options.parent ?? "/tmp", "bulkhead-rig-"));
    // What a boot forgets lies on a tmpfs, as on a host.
    const runRoot =
      options.parent === undefined && existsSync(tmpfs)
        ? await mkdtemp(join(tmpfs, "bulkhead-rig-"))
        : join(root, "run");
    const paths = hostPaths(join(root, "state"), runRoot, newId() as HostId);
    const rig = new Rig({
      root,
      paths,
      blobs: await BlobStore.open({ root: join(root, "blobs") }),
      layers: await LayerStore.open({ root: paths.images, durable: false }),
      image: options.image ?? null,
      allowed: (options.allowed ?? "").replaceAll("$ROOT", root),
      before: await snapshotHost(Rig.#scope(root, paths)),
    });
    try {
      await rig.reopen();
    } catch (error) {
      await rm(root, { recursive: true, force: true });
      await rm(runRoot, { recursive: true, force: true });
      throw error;
    }
    return rig;
  }

  static #scope(root: string, paths: HostPaths) {
    return {
      directories: [root, dirname(paths.run)],
      cgroupPrefixes: [`bulkhead-${paths.hash}`],
      commands: [root],
      networksOf: paths.hash,
    };
  }

  /** A new runtime on the same host, as an agent that starts again has; instances are not touched. */
  async reopen(
    options: { onSteps?: StepListener; readyProcesses?: number; cgroupParent?: string } = {},
  ): Promise<ContainerRuntime> {
    await (this.runtime as ContainerRuntime | undefined)?.[Symbol.asyncDispose]();
    this.runtime = await ContainerRuntime.open({
      paths: this.paths,
      images: {
        ensure: ({ imageDigest }, signal) => this.ensured(imageDigest, signal),
      },
      mountAllowList: MountAllowList.parse(this.#allowed),
      log: { warn: (fields, message) => void this.warnings.push({ fields, message }) },
      ...options,
    });
    return this.runtime;
  }

  /** The image's layers and configuration on this host. */
  ensure(assignment: Assignment): Promise<EnsuredImage> {
    return this.ensured(assignment.imageDigest);
  }

  /** Host pid of the run's first process. */
  pidOf(run: Run): number {
    const { paths } = (run as ContainerRun).cgroup;
    const procs = readFileSync(join(paths["pids"] ?? paths["unified"] ?? "", "cgroup.procs"), "utf8");
    return Number(procs.split("\n")[0]);
  }

  /** Layers and configuration of an imported image, unpacked. */
  async ensured(digest: Digest, signal: AbortSignal = new AbortController().signal): Promise<EnsuredImage> {
    const known = this.#image ?? this.#ensured.get(digest);
    if (known !== undefined) return known;
    const image = await this.#layers.ensureImage(
      digest,
      { fetch: async (blob) => (await this.#blobs.open(blob)).stream },
      { signal },
    );
    this.#ensured.set(digest, image);
    return image;
  }

  /** Imports an image archive and answers its digest. */
  async image(archive: string): Promise<Digest> {
    const [image] = await importArchive(archive, this.#blobs);
    if (image === undefined) throw new Error(`${archive} holds no image`);
    return image.manifestDigest;
  }

  assignment(
    imageDigest: Digest,
    changes: SpecChanges & { cpuIds?: number[]; assigned?: AssignedShare[] } = {},
  ): Assignment {
    const { cpuIds = [], assigned, resources, ...spec } = changes;
    return {
      instanceId: newId() as InstanceId,
      workloadId: newId() as WorkloadId,
      project: "default",
      name: "test-0",
      isolation: "container",
      generation: 1,
      epoch: { era: 1, n: 1 },
      desired: "running",
      restartRequest: 0,
      imageDigest,
      spec: { image: "test", resources: { cpuMillis: 100, memoryBytes: 64 * 2 ** 20, ...resources }, ...spec },
      cpuIds,
      ...(assigned === undefined ? {} : { shares: assigned }),
    };
  }

  async start(assignment: Assignment, attempt = 0): Promise<Run> {
    const key: RunKey = { instanceId: assignment.instanceId, epoch: assignment.epoch, attempt };
    return this.runtime.start({ key, assignment }, new AbortController().signal);
  }

  /** Runs to the end, releases, and answers how it ended and what it printed. */
  async run(assignment: Assignment): Promise<{ output: string; reason: string; exitCode: number | null }> {
    const run = await this.start(assignment);
    const { reason, exit } = await run.ended;
    const output = await this.output(run);
    await run.release();
    await this.runtime.remove(assignment.instanceId);
    return { output, reason, exitCode: exit.exitCode };
  }

  /** All lines of a run's log, both streams. */
  async output(run: Run): Promise<string> {
    let text = "";
    const log = this.runtime.logs(run.key.instanceId, { follow: false }, new AbortController().signal);
    for await (const line of log) text += Buffer.from(line.text).toString() + (line.complete ? "\n" : "");
    return text;
  }

  /** Ends and removes what a test left running. */
  async clear(): Promise<void> {
    const runs = await this.runtime.list();
    await Promise.all(
      runs.map(async (run) => {
        await run.stop(0);
        await run.release();
      }),
    );
    for (const instanceId of await readdir(this.paths.instances)) await this.runtime.remove(instanceId as InstanceId);
    await this.runtime.settled();
  }

  /** What is on the machine now and was not when the rig was opened, its own state directories apart. */
  async leaks(): Promise<string[]> {
    const own = [this.paths.images, this.paths.mountPoints, join(this.root, "blobs")];
    const leaks = leaksBetween(this.#before, await snapshotHost(Rig.#scope(this.root, this.paths)));
    const directories = new Set<string>([
      this.root,
      join(this.root, "state"),
      join(this.root, "state", "hosts"),
      this.paths.state,
      ...own,
      this.paths.instances,
      this.paths.shares,
      this.paths.runShares,
      this.paths.shareLock,
      this.paths.runDisks,
      this.paths.mountPoints,
      this.paths.uidRanges,
      this.paths.trash,
      dirname(this.paths.run),
      this.paths.run,
      this.paths.runInstances,
      join(this.paths.run, `boot-id.${this.paths.isolation}`),
      this.paths.leasePage,
      this.paths.cpus,
      join(this.paths.cpus, "lock"),
      join(this.paths.cpus, "partition.json"),
      join(this.paths.run, "network"),
      join(this.paths.run, "network", "attachments"),
      join(this.paths.run, "network", "networks"),
      join(this.paths.run, "network", "lock"),
      ...Object.values(this.runtime.parents.paths),
    ]);
    const shared = Object.values(this.runtime.parents.paths).map((path) => join(path, "shared"));
    for (const path of shared) directories.add(path);
    return leaks.filter((leak) => {
      const path = leak.slice(leak.indexOf(" ") + 1);
      return !directories.has(path) && !own.some((directory) => path.startsWith(`${directory}/`));
    });
  }

  /** Rejects with the list of what a test left behind. */
  async refuseLeaks(): Promise<void> {
    const leaks = await this.leaks();
    if (leaks.length > 0) throw new Error(`left behind:\n${leaks.join("\n")}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.clear();
    await this.runtime[Symbol.asyncDispose]();
    await removeCgroupParents(this.runtime.parents);
    await closeMountArea(this.paths.runShares);
    await closeMountArea(this.paths.runDisks);
    await rm(this.root, { recursive: true, force: true });
    await rm(dirname(this.paths.run), { recursive: true, force: true });
  }
}
