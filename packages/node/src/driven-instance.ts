import type { InstanceMemory } from "@bulkhead/lifecycle";
import type { HeldRun, InstanceRecord } from "./instance-record.ts";
import type { Run } from "./runtime.ts";
import type { ShareKeeper } from "./share-keeper.ts";

/** What a step may know and do of the instance it is taken for. */
export interface DrivenInstance {
  readonly record: InstanceRecord;
  readonly shares: ShareKeeper;
  readonly memory: InstanceMemory | null;
  /** Puts a run under watch: its end wakes this instance. */
  hold(run: Run, options: { adopted: boolean }): HeldRun;
  /** Stops a run and lets a later, shorter grace overtake this one. */
  end(run: Run, graceMs: number): Promise<void>;
}
