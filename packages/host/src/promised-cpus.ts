import type { CpuState } from "./cpu-ledger.ts";
import { cpusOf, type CpuUser } from "./cpu-partition.ts";

/** What the kernel has for one run, as far as CPUs are concerned. */
export interface PromisedCpus {
  /** number of the host's change that this holds for */
  readonly change: number;
  /** false while the kernel is being told */
  readonly settled: boolean;
  /** those that it may use at most */
  readonly most: readonly number[];
  /** those that it must have */
  readonly least: readonly number[];
  /** shared ones that it may use now */
  readonly shared: readonly number[];
}

/** Each CPU of any of the lists once, in order. */
export const unionOfCpus = (...lists: readonly (readonly number[])[]): number[] =>
  [...new Set(lists.flat())].sort((a, b) => a - b);

/** What a run may use in this state of its host: before or after, while that changes. `user`: undefined for a sharer. */
export const promisedCpus = ({ change, shared, before }: CpuState, user: CpuUser | undefined): PromisedCpus => {
  const now = user === undefined ? shared : cpusOf(user, shared);
  const earlier = before === null ? [] : user === undefined ? before : cpusOf(user, before);
  const least = before === null ? now : (user?.cpuIds ?? []);
  return {
    change,
    settled: before === null,
    most: unionOfCpus(now, earlier),
    least: user?.dedicated === true ? least : [],
    shared: now.filter((cpu) => user?.dedicated !== true || !user.cpuIds.includes(cpu)),
  };
};
