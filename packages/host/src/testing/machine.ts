import { execFile, spawn, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdir, mkdtempDisposable } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import type { HostNetworksOptions } from "../network/networks.ts";
import type { NetworkView } from "../network/state.ts";
import type { Answer, Order } from "./networks-agent.ts";

const run = promisify(execFile);

const end = async (child: ChildProcess): Promise<void> => {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill("SIGKILL");
  await exited;
};

/** A process with a network namespace of its own, which says when it has it. */
const space = async (): Promise<ChildProcess> => {
  const child = spawn("unshare", ["--net", "sh", "-c", "ip link set lo up && echo ready && exec sleep 3600"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await once(child.stdout, "data");
  return child;
};

/** One of a machine's agents. */
export class MachineAgent implements AsyncDisposable {
  readonly #process: ChildProcess;
  readonly #waiting = new Map<number, PromiseWithResolvers<Answer>>();
  #asked = 0;

  private constructor(process: ChildProcess) {
    this.#process = process;
    process.on("message", (answer: Answer) => {
      this.#waiting.get(answer.id)?.resolve(answer);
      this.#waiting.delete(answer.id);
    });
    process.on("exit", () => {
      for (const { reject } of this.#waiting.values()) reject(new Error("the agent ended"));
      this.#waiting.clear();
    });
  }

  static async start(spacePath: string, options: HostNetworksOptions): Promise<MachineAgent> {
    const program = join(import.meta.dirname, "networks-agent.ts");
    const child = spawn("nsenter", [`--net=${spacePath}`, process.execPath, program, JSON.stringify(options)], {
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    await once(child, "message");
    return new MachineAgent(child);
  }

  /** Rejects with the code of what the agent's networks reject with. */
  async ask(order: Order): Promise<void> {
    await this.#answer(order);
  }

  async view(): Promise<NetworkView> {
    const { view } = await this.#answer({ do: "view" });
    if (view === undefined) throw new Error("no view");
    return view;
  }

  async #answer(order: Order): Promise<Answer> {
    const waiting = Promise.withResolvers<Answer>();
    this.#asked += 1;
    this.#waiting.set(this.#asked, waiting);
    this.#process.send({ id: this.#asked, order });
    const answer = await waiting.promise;
    if (answer.failed !== undefined) throw new Error(answer.failed);
    return answer;
  }

  /** Ends it with -9. */
  async [Symbol.asyncDispose](): Promise<void> {
    await end(this.#process);
  }
}

/** A machine of a test's: a network namespace with agents in it. Nothing here touches the real one's network. */
export class Machine implements AsyncDisposable {
  readonly hash = randomBytes(4).toString("hex");
  readonly runDir: string;
  readonly #directory: AsyncDisposable;
  readonly #space: ChildProcess;
  readonly #agents: MachineAgent[] = [];
  readonly #instances = new Map<number, ChildProcess>();

  private constructor(directory: AsyncDisposable & { readonly path: string }, child: ChildProcess) {
    this.#directory = directory;
    this.runDir = join(directory.path, "run");
    this.#space = child;
  }

  static async open(): Promise<Machine> {
    const directory = await mkdtempDisposable("/run/bulkhead-test-machine-");
    const machine = new Machine(directory, await space());
    await mkdir(machine.runDir);
    return machine;
  }

  get #path(): string {
    return `/proc/${this.#space.pid}/ns/net`;
  }

  async agent(isolation: HostNetworksOptions["isolation"]): Promise<MachineAgent> {
    const agent = await MachineAgent.start(this.#path, { hash: this.hash, runDir: this.runDir, isolation });
    this.#agents.push(agent);
    return agent;
  }

  /** A process whose network namespace stands for an instance's. */
  async instance(): Promise<number> {
    const child = await space();
    if (child.pid === undefined) throw new Error("no process");
    this.#instances.set(child.pid, child);
    return child.pid;
  }

  /** Takes these instances away, or all, and their links with their namespaces. */
  async endInstances(pids: readonly number[] = [...this.#instances.keys()]): Promise<void> {
    await Promise.all(
      pids.map(async (pid) => {
        const child = this.#instances.get(pid);
        if (child !== undefined) await end(child);
        this.#instances.delete(pid);
      }),
    );
  }

  /** What a command prints on this machine, or within an instance. */
  async say(command: readonly string[], pid = this.#space.pid): Promise<string> {
    return (await run("nsenter", [`--net=/proc/${pid}/ns/net`, ...command])).stdout.trim();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#agents.map((agent) => agent[Symbol.asyncDispose]()));
    await this.endInstances();
    await end(this.#space);
    await this.#directory[Symbol.asyncDispose]();
  }
}
