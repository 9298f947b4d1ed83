import type { Run } from "@bulkhead/node";

/** Checks contracts, of one run after the other, between any two steps of whatever else goes on in this process. */
export class ContractWatch implements Disposable {
  checks = 0;
  readonly violations: string[] = [];
  readonly #runs: () => Iterable<Run>;
  #next: NodeJS.Immediate;

  constructor(runs: () => Iterable<Run>) {
    this.#runs = runs;
    this.#next = setImmediate(() => this.#check());
  }

  #check(): void {
    const runs = [...this.#runs()];
    const run = runs[this.checks % runs.length];
    if (run !== undefined) {
      this.checks += 1;
      this.violations.push(...run.checkContract().violations);
    }
    this.#next = setImmediate(() => this.#check());
  }

  [Symbol.dispose](): void {
    clearImmediate(this.#next);
  }
}
