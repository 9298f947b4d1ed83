import { isFleetError } from "@bulkhead/contracts";
import type { ControlLog } from "./ports.ts";

export interface WorkLoopOptions {
  /** for the log */
  readonly name: string;
  /** also without a wake, in milliseconds; never when absent */
  readonly everyMs?: number;
  readonly log: ControlLog;
  /** every failure but a lost database, which heals; it is logged once */
  readonly onError?: (error: unknown) => void;
}

/** After a failure the work is tried again this much later, in milliseconds. */
const retryMs = 500;

/**
 * Runs one piece of work again and again, never twice at once: when woken, at intervals, and some time after a failure.
 * A wake during a run causes one more run. Never rejects, never gives up.
 */
export class WorkLoop {
  readonly #work: () => Promise<void>;
  readonly #options: WorkLoopOptions;
  #running: Promise<void> | undefined;
  #again = false;
  #stopped = false;
  #failing = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(work: () => Promise<void>, options: WorkLoopOptions) {
    this.#work = work;
    this.#options = options;
    this.#sleep();
  }

  wake(): void {
    if (this.#stopped) return;
    this.#again = true;
    this.#running ??= this.#run();
  }

  /** Lets the run under way finish; none begins after it. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#running;
  }

  async #run(): Promise<void> {
    clearTimeout(this.#timer);
    while (this.#again && !this.#stopped) {
      this.#again = false;
      try {
        await this.#work();
        if (this.#failing) this.#options.log.info({ work: this.#options.name }, "control work goes on");
        this.#failing = false;
      } catch (err) {
        this.#failed(err);
        break;
      }
    }
    this.#running = undefined;
    if (!this.#stopped) this.#sleep();
  }

  #failed(err: unknown): void {
    const lost = isFleetError(err) && err.code === "DATABASE_UNAVAILABLE";
    if (!this.#failing) this.#options.log.warn({ err, work: this.#options.name }, "control work failed, trying again");
    this.#failing = true;
    if (!lost) this.#options.onError?.(err);
  }

  #sleep(): void {
    const ms = this.#failing ? retryMs : this.#options.everyMs;
    if (ms === undefined) return;
    this.#timer = setTimeout(() => this.wake(), ms);
  }
}
