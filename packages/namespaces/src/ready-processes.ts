import { randomBytes } from "node:crypto";
import { PreparedStart } from "@bulkhead/native-namespaces";
import { endLeftover } from "./leftover.ts";
import type { RuntimeLog } from "./ports.ts";

/** A first process that waits for the plan of its container: in namespaces and cgroups of its own, and in nobody's. */
export interface ReadyProcess {
  readonly prepared: PreparedStart;
  readonly cgroup: Readonly<Record<string, string>>;
}

export interface ReadyProcessesOptions {
  /** how many wait at most */
  readonly count: number;
  /** namespaces they are born in; a container that wants others gets none of them */
  readonly namespaces: readonly string[];
  /** they note the steps of their birth */
  readonly testing: { trace: true } | undefined;
  readonly log: RuntimeLog;
  cgroupOf(name: string): Readonly<Record<string, string>>;
}

/** How long nobody has asked for a process before more are made, in milliseconds: no start waits beside a birth. */
const quietMs = 5;

/**
 * First processes made before any start asks for one. Each is used once, by one container, and has no ids, mounts or
 * limits before it is: those come with the plan. Their shims end with the agent, however it ends, and take them along.
 */
export class ReadyProcesses implements AsyncDisposable {
  readonly #options: ReadyProcessesOptions;
  /** No other runtime of this host, now or earlier, has names that begin so. */
  readonly #series = `ready-${randomBytes(8).toString("hex")}.`;
  readonly #waiting: ReadyProcess[] = [];
  #born = 0;
  #closed = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: ReadyProcessesOptions) {
    this.#options = options;
    this.#refillLater();
  }

  /** How many wait. */
  get count(): number {
    return this.#waiting.length;
  }

  /** Whether a cgroup of that name was made here: then it is waiting, starting, or on record. */
  madeCgroup(name: string): boolean {
    return name.startsWith(this.#series);
  }

  /** One in exactly these namespaces, or null. */
  take(namespaces: readonly string[]): ReadyProcess | null {
    this.#refillLater();
    if (namespaces.join() !== this.#options.namespaces.join()) return null;
    for (;;) {
      const next = this.#waiting.shift();
      if (next === undefined || next.prepared.isWaiting) return next ?? null;
      // Killed by somebody while it waited.
      void this.#discard(next);
    }
  }

  async #discard({ prepared, cgroup }: ReadyProcess): Promise<void> {
    try {
      await prepared[Symbol.asyncDispose]();
      await endLeftover({ paths: cgroup });
    } catch (err) {
      this.#options.log.warn({ err }, "a process that was ready left something");
    }
  }

  #refillLater(): void {
    clearTimeout(this.#timer);
    if (this.#closed || this.#options.count === 0) return;
    this.#timer = setTimeout(() => this.#refill(), quietMs).unref();
  }

  /** One at a time: whoever asks meanwhile comes first. */
  #refill(): void {
    if (this.#waiting.length >= this.#options.count) return;
    try {
      this.#bear();
    } catch (err) {
      // The next start will be told what is wrong, and try here again.
      this.#options.log.warn({ err }, "no process could be made ready");
      return;
    }
    this.#timer = setTimeout(() => this.#refill(), 0).unref();
  }

  #bear(): void {
    const cgroup = this.#options.cgroupOf(`${this.#series}0.0.${(this.#born += 1)}`);
    const { namespaces, testing } = this.#options;
    this.#waiting.push({
      prepared: new PreparedStart({ birth: { namespaces, cgroup: { paths: cgroup }, ahead: true, testing } }),
      cgroup,
    });
  }

  /** Ends those that wait. Resolves when nothing of them is left. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await Promise.all(this.#waiting.splice(0).map((each) => this.#discard(each)));
  }
}
