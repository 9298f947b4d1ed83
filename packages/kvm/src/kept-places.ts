import type { JailedRun } from "@bulkhead/node";
import type { Engine } from "./engine/engine.ts";
import { boundNodes, nodeViolations } from "./machine-nodes.ts";
import { place, placesOf, placeViolations, whileItRuns, type MachinePlaces } from "./machine-places.ts";
import type { MachineRecord } from "./machine-record.ts";
import { memoryMibOf } from "./machine-size.ts";

const mebibyte = 2 ** 20;

/** Where the processors, other threads and memory of one running machine are: put there, and read back. */
export class KeptPlaces {
  readonly #jailed: JailedRun;
  readonly #promised: () => MachinePlaces;
  readonly #memory: { readonly bytes: number; readonly nodes: readonly number[] };

  constructor(jailed: JailedRun, { assignment }: MachineRecord, engine: Engine) {
    this.#jailed = jailed;
    this.#promised = () => placesOf(assignment, engine, jailed.sharedCpus());
    const bytes = memoryMibOf(assignment.spec.resources) * mebibyte;
    this.#memory = { bytes, nodes: boundNodes(this.#promised()) };
    jailed.onCpusChanged = () => void this.#place();
    this.#place();
  }

  #place(): string[] {
    return place(this.#jailed, this.#promised());
  }

  /** What the kernel says otherwise. What strayed is put back: this check tells of it, the next one finds it in its place. */
  check(): string[] {
    const { pid } = this.#jailed;
    const strayed = placeViolations(this.#jailed, this.#promised());
    const notRepaired = strayed.length === 0 ? [] : this.#place();
    return [...strayed, ...notRepaired, ...(pid === null ? [] : whileItRuns(() => nodeViolations(pid, this.#memory)))];
  }
}
