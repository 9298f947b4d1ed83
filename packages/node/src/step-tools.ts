import type { Clock } from "./clock.ts";
import type { Lease } from "./lease.ts";
import type { Ledger } from "./ledger.ts";
import type { Limiter } from "./limiter.ts";
import type { Log } from "./log.ts";
import type { AgentObserver } from "./observer.ts";
import type { Reporter } from "./reporter.ts";
import type { Runtime } from "./runtime.ts";

/** What the steps of all instances share. */
export interface StepTools {
  readonly runtime: Runtime;
  readonly ledger: Ledger;
  readonly reporter: Reporter;
  readonly lease: Lease;
  readonly clock: Clock;
  readonly log: Log;
  readonly observer: AgentObserver;
  /** bounds how many starts run at once */
  readonly starts: Limiter;
  /** true once the agent lets go: nothing new begins */
  readonly stopped: () => boolean;
}
