import { execFileSync } from "node:child_process";
import { constants, copyFileSync, mkdirSync, openSync, writeFileSync } from "node:fs";
import { Socket } from "node:net";
import { join } from "node:path";
import type { Digest } from "@bulkhead/contracts";
import { Rig, type StartStep } from "@bulkhead/namespaces/testing";
import { helloGuest, monitorPath } from "./machine-bench.ts";

const mebibyte = 2 ** 20;
const guestMib = 128;
/** Of misc(4); the minor number is KVM's own (Linux, Documentation/admin-guide/devices.txt). */
const kvmDevice = { path: "/dev/kvm", major: 10, minor: 232 };
/** What a jail runs is no image; nobody looks at it. */
const noImage = `sha256:${"0".repeat(64)}` as Digest;

export interface MachineTimes {
  /** from the request to the guest's first byte: namespaces, cgroup, root, monitor, machine */
  readonly requestMs: number;
  /** from the monitor's execve to that; NaN unless steps are noted */
  readonly monitorMs: number;
}

/** Machines with a guest of five instructions, in the jail that an agent gives its monitors: own ids, nothing around it. */
export class JailedMachines implements AsyncDisposable {
  readonly #rig: Rig;
  readonly #root: string;
  readonly #outputs: SerialPipe[] = [];
  #steps: readonly StartStep[] = [];

  private constructor(rig: Rig, root: string) {
    this.#rig = rig;
    this.#root = root;
  }

  static async open(): Promise<JailedMachines> {
    const rig = await Rig.open();
    const root = join(rig.root, "monitor-root");
    mkdirSync(join(root, "machine"), { recursive: true, mode: 0o755 });
    copyFileSync(monitorPath, join(root, "bulkhead-vmm"));
    writeFileSync(join(rig.root, "kernel"), await helloGuest(), { mode: 0o644 });
    return new JailedMachines(rig, root);
  }

  /** Notes the steps of every start from now on, which then reads the clock more often. */
  async noteSteps(): Promise<void> {
    await this.#rig.reopen({ onSteps: (steps) => void (this.#steps = steps) });
  }

  /** One that says something, and its end with everything it had. A worker has one at a time. */
  async startAndEnd(worker: number): Promise<MachineTimes> {
    const { root, runtime } = this.#rig;
    const output = this.#output(worker);
    const assignment = this.#rig.assignment(noImage, {
      resources: { cpuMillis: 1000, cpuLimitMillis: 1250, memoryBytes: (guestMib + 64) * mebibyte, pidsMax: 128 },
      container: { readOnlyRoot: true, capabilities: [] },
    });
    const key = { instanceId: assignment.instanceId, epoch: assignment.epoch, attempt: 0 };
    const program = {
      root: [this.#root],
      args: [
        "/bulkhead-vmm",
        "--kernel",
        "/machine/kernel",
        "--serial",
        "/machine/serial",
        "--memory-mib",
        String(guestMib),
      ],
      files: [
        { hostPath: join(root, "kernel"), path: "/machine/kernel", writable: false },
        { hostPath: output.path, path: "/machine/serial", writable: true },
      ],
      devices: [kvmDevice],
    };
    const heard = output.next();
    const beganNs = process.hrtime.bigint();
    const run = await runtime.confine({ key, assignment, program }, new AbortController().signal);
    const heardNs = await Promise.race([heard, run.ended.then((ended) => JSON.stringify(ended))]);
    if (typeof heardNs === "string") throw new Error(`the monitor ended: ${heardNs}`);
    const execNs = this.#steps.findLast((step) => step.process === "child")?.atNs;
    await run.stop(0);
    await run.release();
    await runtime.remove(assignment.instanceId);
    return {
      requestMs: Number(heardNs - beganNs) / 1e6,
      monitorMs: execNs === undefined ? Number.NaN : (Number(heardNs) - execNs) / 1e6,
    };
  }

  #output(worker: number): SerialPipe {
    this.#outputs[worker] ??= new SerialPipe(join(this.#rig.root, `serial-${worker}`));
    return this.#outputs[worker];
  }

  /** Nothing of what was removed is left to be done. */
  settled(): Promise<void> {
    return this.#rig.runtime.settled();
  }

  [Symbol.asyncDispose](): Promise<void> {
    for (const output of this.#outputs) output[Symbol.dispose]();
    return this.#rig[Symbol.asyncDispose]();
  }
}

/** A named pipe for a guest's serial port. */
class SerialPipe implements Disposable {
  readonly path: string;
  readonly #socket: Socket;

  constructor(path: string) {
    this.path = path;
    execFileSync("mkfifo", [path]);
    // For writing too: then opening it waits for nobody, and the end of a monitor is not the pipe's.
    this.#socket = new Socket({ fd: openSync(path, constants.O_RDWR | constants.O_NONBLOCK), writable: false });
    this.#socket.resume();
  }

  /** CLOCK_MONOTONIC of the next byte. */
  next(): Promise<bigint> {
    return new Promise((resolve) => this.#socket.once("data", () => resolve(process.hrtime.bigint())));
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }
}
