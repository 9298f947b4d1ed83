import type { InstanceState } from "@bulkhead/contracts";

// Written out, because the schema library behind contracts would double the start time of every command. The `Record`
// makes the compiler refuse a list that differs from the contract's.
const states: Record<InstanceState, true> = {
  pending: true,
  assigned: true,
  starting: true,
  running: true,
  paused: true,
  stopping: true,
  backoff: true,
  stopped: true,
  failed: true,
  lost: true,
};

/** States a user can wait for, in the order an instance goes through them. */
export const instanceStates: readonly string[] = Object.keys(states);
