export interface ReadinessAnswer {
  readonly ready: boolean;
  /** check name -> why it fails; empty while ready */
  readonly failing: Readonly<Record<string, string>>;
}

type Check = () => Promise<void>;

/** Longest a check may take, in milliseconds: a prober gives up about then. */
const checkMs = 2_000;

/**
 * Whether a service can do its work: open (between start and shutdown) and every check passes. A check rejects or
 * throws with the reason.
 */
export class Readiness {
  readonly #checks = new Map<string, Check>();
  #open = false;

  add(name: string, check: Check): void {
    this.#checks.set(name, check);
  }

  /** Called when start-up is done. */
  open(): void {
    this.#open = true;
  }

  /** Called first at shutdown, so that probers look elsewhere before intake stops. */
  close(): void {
    this.#open = false;
  }

  get isOpen(): boolean {
    return this.#open;
  }

  /** Runs all checks at once, each with a deadline; never rejects. */
  async check(): Promise<ReadinessAnswer> {
    if (!this.#open) return { ready: false, failing: { service: "starting or stopping" } };
    const failing: Record<string, string> = {};
    await Promise.all(
      [...this.#checks].map(async ([name, check]) => {
        const timeout = Promise.withResolvers<never>();
        const timer = setTimeout(() => timeout.reject(new Error(`no answer within ${checkMs} ms`)), checkMs);
        try {
          await Promise.race([check(), timeout.promise]);
        } catch (error) {
          failing[name] = error instanceof Error ? error.message : String(error);
        } finally {
          clearTimeout(timer);
        }
      }),
    );
    return { ready: Object.keys(failing).length === 0, failing };
  }
}
