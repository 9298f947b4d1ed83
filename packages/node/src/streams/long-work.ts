import { fleetError } from "@bulkhead/contracts";
import type { Clock } from "../clock.ts";

/** How long an asker waits for work's end, in milliseconds: well below the deadline of the question. */
const waitMs = 5_000;
/** How long an end that nobody waited for is kept for who asks again, in nanoseconds; later it is done anew. */
const keptNs = 60_000_000_000n;

interface Work {
  /** settles with the work; never rejects */
  readonly ended: Promise<unknown>;
  readonly outcome: Promise<unknown>;
  /** `endedNs` of CLOCK_BOOTTIME, once it has ended */
  readonly told: { progress: string; endedNs: bigint | null };
}

/** Tells how far work got, for people. */
export type Tell = (progress: string) => void;

/**
 * Work that may take hours while a question has seconds: who asks hears its end, or that it is under way, and asks again.
 * So an asker knows all the time that somebody works, and an answer that is lost costs one more question.
 */
export class LongWork {
  readonly #clock: Clock;
  readonly #works = new Map<string, Work>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Begins the work of this name, or joins the one that was begun and whose end nobody heard yet. Rejects what it does;
   * SNAPSHOT_UNDER_WAY, with how far it got, when it takes longer than an asker waits.
   */
  async answer<T>(name: string, begin: (tell: Tell) => Promise<T>): Promise<T> {
    this.#sweep();
    const work = this.#works.get(name) ?? this.#begin(name, begin);
    const { promise: late, resolve } = Promise.withResolvers<void>();
    const timer = this.#clock.after(waitMs, resolve);
    await Promise.race([work.ended, late]);
    timer.cancel();
    if (work.told.endedNs === null) throw fleetError("SNAPSHOT_UNDER_WAY", work.told.progress);
    // Heard: who asks for the same now means another time.
    if (this.#works.get(name) === work) this.#works.delete(name);
    return (await work.outcome) as T;
  }

  #begin(name: string, begin: (tell: Tell) => Promise<unknown>): Work {
    const told = { progress: "begun", endedNs: null as bigint | null };
    const outcome = begin((progress) => (told.progress = progress));
    const end = (): void => {
      told.endedNs = this.#clock.boottimeNs();
    };
    const work: Work = { ended: outcome.then(end, end), outcome, told };
    this.#works.set(name, work);
    return work;
  }

  #sweep(): void {
    const now = this.#clock.boottimeNs();
    for (const [name, { told }] of this.#works) {
      const { endedNs } = told;
      if (endedNs !== null && now - endedNs > keptNs) this.#works.delete(name);
    }
  }
}
