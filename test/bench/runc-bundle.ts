import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import type { Assignment } from "@bulkhead/contracts";
import { firstRangeId, idsPerRange } from "@bulkhead/host";
import { buildSpec, ociResources } from "@bulkhead/namespaces";
import type { Rig } from "@bulkhead/namespaces/testing";

/** Above every range that a rig's first containers get. */
const uidRange = { firstId: firstRangeId + 4096 * idsPerRange, ids: idsPerRange };

/** An OCI bundle equal to what our runtime makes of an assignment, for `runc run`; its overlay is mounted beforehand. */
export class RuncBundle implements AsyncDisposable {
  readonly #directory: string;
  readonly #cgroup: string;
  #count = 0;

  private constructor(directory: string, cgroup: string) {
    this.#directory = directory;
    this.#cgroup = cgroup;
  }

  /** `workers` bundles of `args` that may run at once: one root file system, a cgroup each. */
  static async prepare(
    rig: Rig,
    assignment: Assignment,
    { workers = 1, args = ["/bin/true"] }: { workers?: number; args?: readonly string[] } = {},
  ): Promise<RuncBundle> {
    const directory = mkdtempSync("/tmp/bulkhead-runc-");
    execFileSync("chmod", ["711", directory]);
    const path = (name: string): string => join(directory, name);
    // runc 1.1 knows no id-mapped layers, so its lower layer is a copy that belongs to the mapped root.
    for (const layer of (await rig.ensure(assignment)).layers)
      cpSync(layer, path("lower"), { recursive: true, verbatimSymlinks: true });
    for (const name of ["upper", "work", "rootfs", "root"]) mkdirSync(path(name));
    for (const name of ["lower", "upper"])
      execFileSync("chown", ["-R", `${uidRange.firstId}:${uidRange.firstId}`, path(name)]);
    execFileSync("mount", [
      "-t",
      "overlay",
      "-o",
      `lowerdir=${path("lower")},upperdir=${path("upper")},workdir=${path("work")}`,
      "bench",
      path("rootfs"),
    ]);
    const cgroup = `/bulkhead-bench-${process.pid}`;
    const { resources } = assignment.spec;
    const { spec } = buildSpec({
      hostname: assignment.name,
      process: { args: [...args], env: ["PATH=/bin"], cwd: "/", user: "", stopSignal: 15 },
      resources: ociResources(resources, [], rig.runtime.enforcement),
      uidRange,
      mounts: [],
      shares: [],
      tmpfs: [],
      files: [],
      options: undefined,
      openFilesMax: rig.runtime.openFilesMax,
    });
    // runc finds a v1 memory controller at the hierarchy's root only; its own layout of cgroup mounts is its default.
    const config = {
      ...spec,
      // crun reads no specification without its version.
      ociVersion: "1.0.2",
      root: { path: path("rootfs") },
    };
    for (let worker = 0; worker < workers; worker += 1) {
      const linux = { ...spec.linux, cgroupsPath: `${cgroup}/${worker}` };
      mkdirSync(path(`bundle-${worker}`));
      writeFileSync(path(`bundle-${worker}/config.json`), JSON.stringify({ ...config, linux }));
    }
    return new RuncBundle(directory, cgroup);
  }

  /** One `runc run`, or another runtime's, as a whole process; milliseconds. */
  async run(worker = 0, runtime = "runc"): Promise<number> {
    this.#count += 1;
    const id = `bench-${process.pid}-${this.#count}`;
    return this.call(runtime, "run", ["--bundle", this.bundle(worker), id]);
  }

  bundle(worker: number): string {
    return join(this.#directory, `bundle-${worker}`);
  }

  /** One command of a runtime as a whole process; milliseconds. */
  async call(runtime: string, command: string, args: readonly string[]): Promise<number> {
    const began = performance.now();
    const child = spawn(runtime, ["--root", join(this.#directory, "root", basename(runtime)), command, ...args], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    let errors = "";
    child.stderr.on("data", (chunk: Buffer) => {
      errors += chunk.toString("utf8");
    });
    const [code] = (await once(child, "exit")) as [number | null];
    const took = performance.now() - began;
    if (code !== 0) throw new Error(`${runtime} ${command} ended with ${code}: ${errors}`);
    return took;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    execFileSync("umount", [join(this.#directory, "rootfs")]);
    rmSync(this.#directory, { recursive: true, force: true });
    execFileSync("sh", [
      "-c",
      `rmdir /sys/fs/cgroup/*${this.#cgroup} /sys/fs/cgroup${this.#cgroup} 2>/dev/null || true`,
    ]);
  }
}
