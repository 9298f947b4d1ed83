import type { JailedRun, SharedCpus } from "@bulkhead/node";
import type { Engine } from "./engine/engine.ts";
import { boundNodes, nodeViolations } from "./machine-nodes.ts";
import { place, placesOf, placeViolations, whileItRuns, type MachinePlaces } from "./machine-places.ts";
import type { MachineRecord } from "./machine-record.ts";
import { memoryMibOf } from "./machine-size.ts";

const mebibyte = 2 ** 20;

/** Where the processors, other threads and memory of one running machine are: put there, and read back. */
export class KeptPlaces {
  readonly #jailed: JailedRun;
  readonly #record: MachineRecord;
  readonly #engine: Engine;
  readonly #memory: { readonly bytes: number; readonly nodes: readonly number[] };
  /** the host's change of CPUs that its threads were put in their places for */
  #placedFor = -1;

  constructor(jailed: JailedRun, record: MachineRecord, engine: Engine) {
    this.#jailed = jailed;
    this.#record = record;
    this.#engine = engine;
    const bytes = memoryMibOf(record.assignment.spec.resources) * mebibyte;
    this.#memory = { bytes, nodes: boundNodes(this.#promised(jailed.sharedCpus())) };
    jailed.onCpusChanged = () => void this.#place(jailed.sharedCpus());
    this.#place(jailed.sharedCpus());
  }

  #promised({ cpus }: SharedCpus): MachinePlaces {
    return placesOf(this.#record.assignment, this.#engine, cpus);
  }

  #place(shared: SharedCpus): string[] {
    // Whoever changes them moves threads at this moment; the machine hears of the end of it.
    if (!shared.settled) return [];
    this.#placedFor = shared.change;
    return place(this.#jailed, this.#promised(shared));
  }

  /** What the kernel says otherwise. What strayed is put back: this check tells of it, the next one finds it in its place. */
  check(): string[] {
    const { pid } = this.#jailed;
    return [...this.#checkThreads(), ...(pid === null ? [] : whileItRuns(() => nodeViolations(pid, this.#memory)))];
  }

  #checkThreads(): string[] {
    for (;;) {
      const shared = this.#jailed.sharedCpus();
      if (shared.change !== this.#placedFor) this.#place(shared);
      const promised = this.#promised(shared);
      const strayed = placeViolations(this.#jailed, shared.settled ? promised : { ...promised, pinned: [] });
      const notRepaired = strayed.length === 0 ? [] : this.#place(shared);
      // The other agent may have changed them meanwhile: then this was about two states of the host at once.
      if (strayed.length === 0 || this.#jailed.sharedCpus().change === shared.change)
        return [...strayed, ...notRepaired];
    }
  }
}
