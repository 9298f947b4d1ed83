import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Assignment } from "@bulkhead/contracts";
import type { Rig } from "@bulkhead/namespaces/testing";

/** `podman run` of an image's files, with storage of its own in a temporary directory. */
export class PodmanPeer implements AsyncDisposable {
  readonly #directory: string;

  private constructor(directory: string) {
    this.#directory = directory;
  }

  static async prepare(rig: Rig, assignment: Assignment): Promise<PodmanPeer> {
    const directory = mkdtempSync("/tmp/bulkhead-podman-");
    for (const layer of (await rig.ensure(assignment)).layers) {
      cpSync(layer, join(directory, "rootfs"), { recursive: true, verbatimSymlinks: true });
    }
    return new PodmanPeer(directory);
  }

  #options(): string[] {
    const place = (name: string): string => join(this.#directory, name);
    return ["--root", "root", "--runroot", "run", "--tmpdir", "tmp"]
      .map((word, index) => (index % 2 === 0 ? word : place(word)))
      .concat("--cgroup-manager", "cgroupfs", "--events-backend", "none", "--runtime", "runc");
  }

  /** One `podman run --rm` as a whole process; milliseconds. `podman` is its own bridge with IPv4, NAT and IPAM. */
  async run(network: "none" | "podman" = "none"): Promise<number> {
    // Without leave to raise limits podman asks for more than it may have, unless it is told numbers.
    const limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024", "--pids-limit", "64"];
    const args = [
      "run",
      "--rm",
      "--network",
      network,
      ...limits,
      "--rootfs",
      join(this.#directory, "rootfs"),
      "/bin/true",
    ];
    const began = performance.now();
    const child = spawn("podman", [...this.#options(), ...args], { stdio: ["ignore", "ignore", "pipe"] });
    let errors = "";
    child.stderr.on("data", (chunk: Buffer) => {
      errors += chunk.toString("utf8");
    });
    const [code] = (await once(child, "exit")) as [number | null];
    if (code !== 0) throw new Error(`podman ended with ${code}: ${errors}`);
    return performance.now() - began;
  }

  [Symbol.asyncDispose](): Promise<void> {
    execFileSync("podman", [...this.#options(), "rm", "--all", "--force"], { stdio: "ignore" });
    rmSync(this.#directory, { recursive: true, force: true });
    return Promise.resolve();
  }
}
