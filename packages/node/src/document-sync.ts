import type { DesiredChanged, InstanceId } from "@bulkhead/contracts";
import type { Clock, Timer } from "./clock.ts";
import type { ControlPlane } from "./control-plane.ts";
import type { DesiredStore } from "./desired-store.ts";
import type { Log } from "./log.ts";

/** First and longest wait after a fetch that failed, in milliseconds. */
const firstRetryMs = 500;
const longestRetryMs = 10_000;

/** Brings the document here: one fetch at a time, repeated until it succeeds; many hints are one fetch. */
export class DocumentSync {
  readonly #controlPlane: ControlPlane;
  readonly #store: DesiredStore;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #accepted: (touched: ReadonlySet<InstanceId>) => void;
  #wanted: "nothing" | "changes" | "whole" = "nothing";
  #running: Promise<void> | null = null;
  #retry: Timer | null = null;
  #failures = 0;
  #refusal: string | null = null;
  #askedAtNs = 0n;
  #closed = false;

  constructor(options: {
    controlPlane: ControlPlane;
    store: DesiredStore;
    clock: Clock;
    log: Log;
    accepted: (touched: ReadonlySet<InstanceId>) => void;
  }) {
    this.#controlPlane = options.controlPlane;
    this.#store = options.store;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#accepted = options.accepted;
  }

  /** Why the newest offered document is not obeyed, or null. */
  get problem(): string | null {
    return this.#refusal;
  }

  /** CLOCK_BOOTTIME of the newest request, in nanoseconds. */
  get askedAtNs(): bigint {
    return this.#askedAtNs;
  }

  /** A hint that there is something new; hints of what is already here are ignored. */
  changed({ position }: DesiredChanged): void {
    const held = this.#store.position;
    const known =
      held !== null &&
      held.clusterId === position.clusterId &&
      (position.era < held.era || (position.era === held.era && position.version <= held.version));
    if (!known) void this.refresh();
  }

  /** Resolves when a fetch that began after this call is done, or failed; failures are repeated by themselves. */
  refresh(): Promise<void> {
    if (this.#wanted === "nothing") this.#wanted = "changes";
    this.#running ??= this.#drain();
    return this.#running;
  }

  close(): void {
    this.#closed = true;
    this.#retry?.cancel();
  }

  async #drain(): Promise<void> {
    this.#retry?.cancel();
    this.#retry = null;
    try {
      while (this.#wanted !== "nothing" && !this.#closed) {
        const whole = this.#wanted === "whole";
        this.#wanted = "nothing";
        await this.#fetch(whole);
      }
      this.#failures = 0;
    } catch (error) {
      this.#failures += 1;
      const delayMs = Math.min(firstRetryMs * 2 ** Math.min(this.#failures - 1, 10), longestRetryMs);
      this.#log.debug({ err: error, delayMs }, "desired state not fetched");
      if (!this.#closed) this.#retry = this.#clock.after(delayMs, () => void this.refresh());
    } finally {
      this.#running = null;
    }
  }

  async #fetch(whole: boolean): Promise<void> {
    this.#askedAtNs = this.#clock.boottimeNs();
    const document = await this.#controlPlane.fetchDesired(whole ? null : this.#store.position);
    if (this.#closed) return;
    const answer = this.#store.accept(document);
    switch (answer.kind) {
      case "accepted":
        this.#refusal = null;
        // Before the digest, which takes longer the more runs here: starts wait for nothing.
        this.#accepted(answer.touched);
        if (this.#store.digest === document.digest) return;
        // A whole document that contradicts its own digest is fetched again by the heartbeat's comparison, not here:
        // asking at once would ask forever.
        if (whole) this.#log.error({ position: document.position }, "desired state contradicts its digest");
        else this.#wanted = "whole";
        return;
      case "unchanged":
        this.#refusal = null;
        return;
      case "whole":
        if (whole) throw new Error("asked for the whole document, got a part of it");
        this.#wanted = "whole";
        return;
      case "refused":
        if (answer.problem !== this.#refusal) {
          this.#log.error({ position: document.position, problem: answer.problem }, "desired state refused");
        }
        this.#refusal = answer.problem;
        return;
      default: {
        const never: never = answer;
        return never;
      }
    }
  }
}
