import type { TimedStep } from "@bulkhead/native-namespaces";

/** One step of a start; it lasts until its process begins the next. */
export interface StartStep {
  readonly process: "agent" | "shim" | "child";
  readonly name: string;
  /** CLOCK_MONOTONIC when it began */
  readonly atNs: number;
}

/** Who wants the steps of every start, for benchmarks: each step then costs a reading of the clock. */
export type StepListener = (steps: readonly StartStep[]) => void;

/** Notes when the steps of one start began; nothing when nobody wants them. */
export class StartSteps {
  readonly #listener: StepListener | undefined;
  readonly #steps: StartStep[] = [];

  constructor(listener: StepListener | undefined) {
    this.#listener = listener;
  }

  /** What plans and births are told, so that the other processes note theirs. */
  get testing(): { trace: true } | undefined {
    return this.#listener === undefined ? undefined : { trace: true };
  }

  /** The agent begins a step. */
  begin(name: string): void {
    // The clock is the one that the native side reads.
    if (this.#listener !== undefined)
      this.#steps.push({ process: "agent", name, atNs: Number(process.hrtime.bigint()) });
  }

  /** The entrypoint runs; `native` is what its shim and its own process noted, of which a birth long before is no part. */
  done(native: readonly TimedStep[] | undefined): void {
    if (this.#listener === undefined) return;
    const beganNs = this.#steps[0]?.atNs ?? 0;
    const own = (native ?? []).filter(({ atNs }) => atNs >= beganNs);
    const others = own.map(({ name, atNs, inChild }) => ({
      process: inChild ? ("child" as const) : ("shim" as const),
      name,
      atNs,
    }));
    this.#listener([...this.#steps, ...others]);
  }
}
