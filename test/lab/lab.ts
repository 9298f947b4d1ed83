import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { LabChannel, type LabResult, type RunOptions } from "./channel.ts";
import { Console } from "./console.ts";
import { buildInitramfs } from "./initramfs.ts";
import { labKernel } from "./kernel.ts";
import { defaultMachine, portName, qemuArguments, type LabMachine } from "./machine.ts";

const checkout = resolve(import.meta.dirname, "../..");

export interface LabOptions extends Partial<LabMachine> {
  /** `plain`: nothing but our agent; `systemd`: as a Debian machine comes up. Default `plain`. */
  readonly init?: "plain" | "systemd";
  /** modules that are loaded before the lab is ready, by `modprobe` */
  readonly modprobe?: readonly string[];
  /** size of /tmp and /var/lib/bulkhead together; the file is sparse */
  readonly diskMib?: number;
  /** how long the boot may take */
  readonly bootMs?: number;
}

/** Six seconds on an idle machine; several times that when both its cores are busy. */
const defaultBootMs = 120_000;

/** A host that did not come up or went away; the message ends in the last lines of its console. */
class LabError extends Error {
  override readonly name = "LabError";
}

/**
 * A host with cgroup v2, Debian's kernel and a KVM of its own, in QEMU: it sees this machine's files (writes stay in its
 * memory; /tmp and /var/lib/bulkhead are on a disk of its own). Gone with everything in it when disposed.
 */
export class Lab implements AsyncDisposable {
  readonly #qemu: ChildProcess;
  readonly #console: Console;
  readonly #channel: LabChannel;
  readonly #directory: string;

  private constructor(parts: { qemu: ChildProcess; console: Console; channel: LabChannel; directory: string }) {
    this.#qemu = parts.qemu;
    this.#console = parts.console;
    this.#channel = parts.channel;
    this.#directory = parts.directory;
  }

  /** @throws {LabError} with what the console said, when the host does not come up in time */
  static async boot(options: LabOptions = {}): Promise<Lab> {
    const { init = "plain", modprobe = ["kvm_amd"], diskMib = 8192, bootMs = defaultBootMs, ...machine } = options;
    const kernel = await labKernel();
    await using undo = new AsyncDisposableStack();
    const directory = undo.adopt(mkdtempSync(join(tmpdir(), "bulkhead-lab-")), (path) =>
      rmSync(path, { recursive: true, force: true }),
    );
    const files = {
      initramfs: join(directory, "initramfs"),
      disk: join(directory, "disk"),
      socket: join(directory, "port"),
    };
    writeFileSync(
      files.initramfs,
      buildInitramfs(kernel, {
        INIT: `${init}.sh`,
        CHECKOUT: checkout,
        NODE: process.execPath,
        PORT: portName,
        RELEASE: kernel.release,
        MODULES: kernel.modules,
        MODPROBE: modprobe.join(" "),
      }),
    );
    writeFileSync(files.disk, "");
    truncateSync(files.disk, diskMib * 1024 * 1024);
    execFileSync("mkfs.ext4", ["-q", "-F", files.disk], { stdio: "pipe" });
    const server = createServer();
    undo.defer(() => void server.close());
    server.listen(files.socket);
    await once(server, "listening");

    const qemu = spawn("qemu-system-x86_64", qemuArguments({ ...defaultMachine, ...machine }, kernel, files), {
      stdio: ["ignore", "pipe", "pipe"],
    });
    undo.defer(() => end(qemu));
    const console = new Console(qemu);
    const deadline = AbortSignal.timeout(bootMs);
    const tooLate = once(deadline, "abort").then(() => `it was not ready after ${bootMs} ms`);
    const accepted = LabChannel.accept(server, deadline);
    const failed = accepted.then(
      () => undefined,
      // Who asked for the end of a machine that goes down is its console's to say, so QEMU's own end is waited for.
      () => Promise.race([console.ended, tooLate]),
    );
    const why = await Promise.race([failed, console.ended, tooLate]);
    if (why !== undefined) {
      throw new LabError(`the lab host did not come up: ${why}; its console:\n${console.tail()}`);
    }
    const channel = await accepted;
    undo.move();
    server.close();
    return new Lab({ qemu, console, channel, directory });
  }

  /** What the console said last. */
  get console(): string {
    return this.#console.tail();
  }

  /**
   * Runs a command line (a string is one for `sh -c`) to its end. The exit code is an answer, not an error.
   * @throws {LabError} when it takes longer than `timeoutMs` (it is killed then) or the host went away
   */
  async run(command: string | readonly string[], options: RunOptions): Promise<LabResult> {
    const argv = typeof command === "string" ? ["/bin/sh", "-c", command] : command;
    try {
      return await this.#channel.run(argv, { cwd: checkout, ...options });
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new LabError(`${argv.join(" ")}: ${why}\nconsole of the lab host:\n${this.#console.tail()}`, { cause });
    }
  }

  /** Processor time of this machine that it has had, in all: what moves least with whatever else this machine does. */
  processorMs(): number {
    const fields = readFileSync(`/proc/${this.#qemu.pid}/stat`, "latin1")
      .replace(/^.*\) /s, "")
      .split(" ");
    // proc_pid_stat(5): utime and stime, of which one second has 100 on every Linux (USER_HZ).
    return (Number(fields[11]) + Number(fields[12])) * 10;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#channel.close();
    await end(this.#qemu);
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

/** Nothing of a lab host outlives it, so nothing is lost by not shutting it down. */
const end = async (qemu: ChildProcess): Promise<void> => {
  if (qemu.pid === undefined || qemu.exitCode !== null || qemu.signalCode !== null) return;
  const exited = once(qemu, "exit");
  qemu.kill("SIGKILL");
  await exited;
};
