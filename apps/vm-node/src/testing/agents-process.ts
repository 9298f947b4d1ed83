import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import type { BothOrder, BothReply } from "./both-agents.ts";

const program = join(import.meta.dirname, "both-agents.ts");

/** The process that both agents of a host are in, which is told what to do, and can be killed. */
export class AgentsProcess {
  readonly #process: ChildProcess;
  readonly #waiting = new Map<number, (reply: BothReply) => void>();
  #asked = 0;

  /** `network`: the network namespace's file. */
  constructor(network: string) {
    this.#process = spawn("nsenter", [`--net=${network}`, process.execPath, program], {
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    this.#process.on("message", ({ id, ...reply }: BothReply & { id: number }) => this.#waiting.get(id)?.(reply));
    this.#process.on("exit", () => {
      for (const answer of this.#waiting.values()) answer({ failed: "the agents have ended" });
    });
  }

  /** What came of an order. Rejects with what it failed with. */
  async ask(order: BothOrder): Promise<string> {
    const id = (this.#asked += 1);
    const { promise, resolve } = Promise.withResolvers<BothReply>();
    this.#waiting.set(id, resolve);
    this.#process.send({ id, order });
    const reply = await promise.finally(() => this.#waiting.delete(id));
    if ("failed" in reply) throw new Error(reply.failed);
    return reply.output;
  }

  async kill(): Promise<void> {
    const exited = once(this.#process, "exit");
    this.#process.kill("SIGKILL");
    await exited;
  }
}
