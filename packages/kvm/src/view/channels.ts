import type { MachineChannel, MachineView } from "@bulkhead/contracts";

/** What an engine's program tells of a running machine. */
export interface MachineChannels {
  readonly channels: readonly MachineChannel[];
  readonly exits: MachineView["exits"];
  /** system calls by kind of thread; null: the engine makes no difference between its threads */
  readonly calls: Readonly<Record<string, readonly string[]>> | null;
  readonly uncounted: readonly string[];
}

/** First and last address, in hexadecimal. */
export const range = (first: number, count: number): string =>
  `0x${first.toString(16)}-0x${(first + count - 1).toString(16)}`;
