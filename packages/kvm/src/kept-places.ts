import type { JailedRun } from "@bulkhead/node";
import type { Engine } from "./engine/engine.ts";
import { place, placesOf, placeViolations, type MachinePlaces } from "./machine-places.ts";
import type { MachineRecord } from "./machine-record.ts";

/** Where the processors, other threads and memory of one running machine are: put there, and read back. */
export class KeptPlaces {
  readonly #jailed: JailedRun;
  readonly #promised: () => MachinePlaces;

  constructor(jailed: JailedRun, { assignment }: MachineRecord, engine: Engine) {
    this.#jailed = jailed;
    this.#promised = () => placesOf(assignment, engine, jailed.sharedCpus());
    jailed.onCpusChanged = () => void this.#place();
    this.#place();
  }

  #place(): string[] {
    return place(this.#jailed, this.#promised());
  }

  /** What the kernel says otherwise. What strayed is put back: this check tells of it, the next one finds it in its place. */
  check(): string[] {
    const strayed = placeViolations(this.#jailed, this.#promised());
    return strayed.length === 0 ? [] : [...strayed, ...this.#place()];
  }
}
