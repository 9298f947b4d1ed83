import type { ChildProcess } from "node:child_process";
import { once } from "node:events";

/** What each order that is under way fails with when its process ends. */
export const processEnded = "the process has ended";

interface Refusal {
  readonly failed: string;
}

const isRefusal = (reply: object): reply is Refusal => "failed" in reply;

/** A process of a test that is told what to do, answers each order under its number, and can be killed. */
export class ToldProcess<Order, Reply extends object> {
  readonly #process: ChildProcess;
  readonly #waiting = new Map<number, (reply: Reply | Refusal) => void>();
  #asked = 0;

  /** `process` has a channel of messages. */
  constructor(process: ChildProcess) {
    this.#process = process;
    process.on("message", ({ id, reply }: { id: number; reply: Reply | Refusal }) => this.#waiting.get(id)?.(reply));
    process.on("exit", () => {
      for (const answer of this.#waiting.values()) answer({ failed: processEnded });
    });
  }

  /** What came of an order. Rejects with what it failed with. */
  async ask(order: Order): Promise<Reply> {
    if (this.#hasEnded) throw new Error(processEnded);
    const id = (this.#asked += 1);
    const { promise, resolve } = Promise.withResolvers<Reply | Refusal>();
    this.#waiting.set(id, resolve);
    this.#process.send({ id, order });
    const reply = await promise.finally(() => this.#waiting.delete(id));
    if (isRefusal(reply)) throw new Error(reply.failed);
    return reply;
  }

  get #hasEnded(): boolean {
    return this.#process.exitCode !== null || this.#process.signalCode !== null;
  }

  async kill(): Promise<void> {
    if (this.#hasEnded) return;
    const exited = once(this.#process, "exit");
    this.#process.kill("SIGKILL");
    await exited;
  }
}
