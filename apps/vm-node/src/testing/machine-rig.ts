import { randomBytes } from "node:crypto";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import {
  uuidV7,
  type Assignment,
  type Digest,
  type HostId,
  type InstanceId,
  type WorkloadId,
  type WorkloadSpec,
} from "@bulkhead/contracts";
import {
  hostPaths,
  leaksBetween,
  MountAllowList,
  removeCgroupParents,
  snapshotHost,
  type HostPaths,
  type HostSnapshot,
} from "@bulkhead/host";
import { BlobStore, importArchive, LayerStore, type EnsuredImage } from "@bulkhead/images";
import { GuestKernels, kvmEngine, MachineRuntime, qemuEngine, type Engine } from "@bulkhead/kvm";
import { ContainerRuntime } from "@bulkhead/namespaces";
import type { Run } from "@bulkhead/node";
import { testedEngine } from "@bulkhead/testkit/runtime";

const newId = (): string => uuidV7(Date.now(), randomBytes(10));

/** What machines of several hosts share, because it is costly to make and never changes. */
export interface SharedParts {
  readonly directory: string;
  readonly image: EnsuredImage;
  /** of the fleet, for machines that name it */
  readonly kernel?: EnsuredImage;
}

/** In the checkout, where git ignores it: a kernel is fetched once. */
const kernelCache = join(import.meta.dirname, "../../../../node_modules/.cache/bulkhead-guest-kernels");

/** The kernel that the tests' machines boot. */
export const testKernels = new GuestKernels(kernelCache);

/** Unpacks an image below a directory that several rigs use. */
export const sharedParts = async (archive: string): Promise<SharedParts> => {
  const directory = await mkdtemp("/tmp/bulkhead-machines-");
  const blobs = await BlobStore.open({ root: join(directory, "blobs") });
  const [imported] = await importArchive(archive, blobs);
  if (imported === undefined) throw new Error(`${archive} holds no image`);
  const layers = await LayerStore.open({ root: join(directory, "images"), durable: false });
  const fetcher = { fetch: async (blob: Digest) => (await blobs.open(blob)).stream };
  const image = await layers.ensureImage(imported.manifestDigest, fetcher, { signal: new AbortController().signal });
  return { directory, image };
};

/**
 * QEMU's software SVM, of which lab hosts' KVM is made, loses extended processor state between guest and host: kernels
 * that use xsave cannot return from signals.
 */
const onLabHosts = { kernelWords: ["noxsave"] };

/** The engine that this run of the tests is about, with its root below a directory. */
export const engineAt = (directory: string): Engine =>
  testedEngine === "kvm" ? kvmEngine({ directory, ...onLabHosts }) : qemuEngine(directory);

/** The engine that this run of the tests is about. */
export const engine = engineAt("/nowhere");

/** What an agent has on a host. */
export const openMachines = async (
  paths: HostPaths,
  { directory, image, kernel }: SharedParts,
): Promise<{ jail: ContainerRuntime; runtime: MachineRuntime }> => {
  const log = { warn: () => undefined };
  const jail = await ContainerRuntime.open({
    paths,
    images: { ensure: () => Promise.reject(new Error("a jail has no image")) },
    mountAllowList: MountAllowList.parse(""),
    log,
  });
  const runtime = new MachineRuntime({
    paths,
    jail,
    engines: [engineAt(join(directory, "engines"))],
    kernels: testKernels,
    images: {
      ensure: ({ imageDigest }) => Promise.resolve(imageDigest === kernel?.manifestDigest ? kernel : image),
    },
    diskRoot: join(directory, "disks"),
    log,
  });
  return { jail, runtime };
};

/** A host of its own that runs machines, which is checked for leaks when it is closed. */
export class MachineRig implements AsyncDisposable {
  readonly paths: HostPaths;
  readonly #root: string;
  readonly shared: SharedParts;
  readonly #before: HostSnapshot;
  #jail!: ContainerRuntime;
  runtime!: MachineRuntime;

  private constructor(root: string, paths: HostPaths, shared: SharedParts, before: HostSnapshot) {
    this.#root = root;
    this.paths = paths;
    this.shared = shared;
    this.#before = before;
  }

  static async open(shared: SharedParts): Promise<MachineRig> {
    const root = await mkdtemp("/tmp/bulkhead-rig-");
    const paths = hostPaths(join(root, "state"), join(root, "run"), newId() as HostId, "vm");
    const rig = new MachineRig(root, paths, shared, await snapshotHost(scopeOf(root, paths)));
    await rig.reopen();
    return rig;
  }

  /** A new runtime on the same host, as an agent that starts again has; machines are not touched. */
  async reopen(): Promise<MachineRuntime> {
    await (this.runtime as MachineRuntime | undefined)?.[Symbol.asyncDispose]();
    const opened = await openMachines(this.paths, this.shared);
    this.#jail = opened.jail;
    this.runtime = opened.runtime;
    return this.runtime;
  }

  assignment(spec: Partial<WorkloadSpec> = {}): Assignment {
    return {
      instanceId: newId() as InstanceId,
      workloadId: newId() as WorkloadId,
      project: "default",
      name: "test-0",
      isolation: "vm",
      generation: 1,
      epoch: { era: 1, n: 1 },
      desired: "running",
      restartRequest: 0,
      imageDigest: this.shared.image.manifestDigest,
      spec: { image: "test", resources: { cpuMillis: 1000, memoryBytes: 160 * 2 ** 20 }, ...spec },
      cpuIds: [],
    };
  }

  start(assignment: Assignment): Promise<Run> {
    const key = { instanceId: assignment.instanceId, epoch: assignment.epoch, attempt: 0 };
    return this.runtime.start({ key, assignment }, new AbortController().signal);
  }

  /** All lines of a run's log, both streams. */
  async output(run: Run): Promise<string> {
    let text = "";
    const log = this.runtime.logs(run.key.instanceId, { follow: false }, new AbortController().signal);
    for await (const line of log) text += Buffer.from(line.text).toString() + (line.complete ? "\n" : "");
    return text;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const run of await this.runtime.list()) {
      await run.stop(0);
      await run.release();
    }
    for (const instanceId of await readdir(this.paths.instances)) await this.runtime.remove(instanceId as InstanceId);
    await this.#jail.settled();
    await this.runtime[Symbol.asyncDispose]();
    await removeCgroupParents(this.#jail.parents);
    await rm(this.#root, { recursive: true, force: true });
    const leaks = leaksBetween(this.#before, await snapshotHost(scopeOf(this.#root, this.paths)));
    if (leaks.length > 0) throw new Error(`left behind:\n${leaks.join("\n")}`);
  }
}

const scopeOf = (root: string, paths: HostPaths) => ({
  directories: [root, dirname(paths.run)],
  cgroupPrefixes: [`bulkhead-${paths.hash}`],
  commands: [root],
  networksOf: paths.hash,
});
