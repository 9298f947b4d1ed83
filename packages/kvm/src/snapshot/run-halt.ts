import { setTimeout } from "node:timers/promises";
import { fleetError } from "@bulkhead/contracts";
import { settlesWithin } from "@bulkhead/node";
import type { Standstill } from "../engine/engine.ts";
import type { GuestChannel } from "../guest/channel.ts";
import type { MachinePaths } from "../machine-paths.ts";
import { goOn, writeHalt } from "./halt.ts";

/** How long a run is waited for that should go on, in milliseconds. */
export interface GoOnPatience {
  /** between two tries */
  readonly againMs: number;
  /** until it is told that it stands still; the tries go on */
  readonly overdueMs: number;
}

/** A monitor that still writes memory answers after that; a guest on a busy host has some tries. */
const patient: GoOnPatience = { againMs: 500, overdueMs: 60_000 };

export interface RunHaltParts {
  /** null: its engine takes no machine to files */
  readonly standstill: Standstill | null;
  readonly paths: MachinePaths;
  /** Has its guest's agent listen. */
  readonly talk: (say: (channel: GuestChannel) => Promise<void>) => Promise<void>;
  /** true once its monitor has ended */
  readonly over: () => boolean;
}

/** Keeps the processes of a run still for as long as something needs that, and lets them go on, whatever it takes. */
export class RunHalt {
  readonly #parts: RunHaltParts;
  readonly #patience: GoOnPatience;
  #held = false;
  #overdue = false;
  #left = false;
  /** why the last try came to nothing */
  #why = "";

  constructor(parts: RunHaltParts, patience: GoOnPatience = patient) {
    this.#parts = parts;
    this.#patience = patience;
  }

  /** true while its processes are kept still, or should go on and do not */
  get held(): boolean {
    return this.#held;
  }

  /** Why processes that should have gone on long ago do not; null otherwise. */
  get stuck(): string | null {
    return this.#overdue ? `its processes stand still since a snapshot, and cannot be let go on: ${this.#why}` : null;
  }

  /**
   * Marks the run as one that is to go on, does `work`, and lets it go on, whatever came of the work. Rejects what the work
   * does; SNAPSHOT_STANDSTILL as `goOn`; STATE_CONFLICT while it is held already.
   */
  async during<T>(work: () => Promise<T>): Promise<T> {
    if (this.#held) throw fleetError("STATE_CONFLICT", "another snapshot of the instance is being taken; try again");
    this.#held = true;
    const kept = async (): Promise<T> => {
      await writeHalt(this.#parts.paths, "thaw");
      return work();
    };
    const [done] = await Promise.allSettled([kept()]);
    const [gone] = await Promise.allSettled([this.goOn()]);
    // Why the work failed matters more than that it does not go on, which its contract tells, too.
    if (done.status === "rejected") throw done.reason;
    if (gone.status === "rejected") throw gone.reason;
    return done.value;
  }

  /**
   * Tries until it goes on, or has ended. Rejects SNAPSHOT_STANDSTILL when that takes too long: then it is tried further, and
   * `stuck` tells why it does not.
   */
  async goOn(): Promise<void> {
    this.#held = true;
    const trying = this.#tryUntilItGoesOn();
    if ((await settlesWithin(trying, this.#patience.overdueMs)) || !this.#held) return;
    this.#overdue = true;
    throw fleetError("SNAPSHOT_STANDSTILL", this.stuck ?? "");
  }

  async #tryUntilItGoesOn(): Promise<void> {
    const { standstill, paths, talk, over } = this.#parts;
    while (!over() && !this.#left) {
      try {
        await goOn(standstill, paths, talk);
        break;
      } catch (error) {
        this.#why = (error as Error).message;
      }
      await setTimeout(this.#patience.againMs, undefined, { ref: false });
    }
    this.#held = false;
    this.#overdue = false;
  }

  /** Leaves it as it is, to the next agent. */
  leave(): void {
    this.#left = true;
  }
}
