import { addon, type ExitCounts, type MachineEnd, type NativeMachine, type Phase } from "./addon.ts";

/**
 * A machine in this process, for tests and measurements. It has no jail: a guest that gets the better of the monitor has
 * this process. Instances of a fleet run in `bulkhead-vmm` for that reason.
 */
export class InProcessMachine implements AsyncDisposable {
  readonly #machine: NativeMachine;
  #ended: Promise<MachineEnd> | null = null;

  /**
   * Everything up to the guest's first instruction. `words` are those of bulkhead-vmm's command line that describe a
   * machine. Throws an error with Node's `code`, `syscall` and `path`: EINVAL names the word that is wrong.
   */
  constructor(words: readonly string[]) {
    this.#machine = new addon.Machine(words);
  }

  /** Runs it, once, to its end. Throws EALREADY the second time. */
  run(): Promise<MachineEnd> {
    const ended = this.#machine.run();
    this.#ended = ended;
    return ended;
  }

  /** Ends it wherever it is; `run` answers `stopped`, unless it had ended otherwise. */
  stop(): void {
    this.#machine.stop();
  }

  /** Returns when none of its processors runs. Throws ESRCH when it does not run, or not yet. */
  pause(): void {
    this.#machine.pause();
  }

  resume(): void {
    this.#machine.resume();
  }

  get exits(): ExitCounts {
    return this.#machine.exits();
  }

  /** Steps of its start; the last began when the guest could run. */
  get phases(): readonly Phase[] {
    return this.#machine.phases();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.stop();
    await this.#ended?.catch(() => undefined);
  }
}
