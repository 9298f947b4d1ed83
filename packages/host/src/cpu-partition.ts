import { formatCpuList } from "./cpu-list.ts";

/** CPUs of one living instance. */
export interface CpuClaim {
  readonly name: string;
  readonly dedicated: boolean;
  /** CPUs the scheduler chose; empty: any shared one */
  readonly cpuIds: readonly number[];
  /** a dedicated one may use the shared CPUs too, for threads that are not the instance's own */
  readonly sharesToo?: boolean;
}

export type CpuPartition =
  | { readonly possible: true; readonly shared: readonly number[] }
  | { readonly possible: false; readonly detail: string };

/**
 * Which CPUs all shared instances may use so that each dedicated one has its own. Not possible when a CPU is claimed
 * twice, does not exist, or nothing would be left for the shared ones.
 */
export const partitionCpus = (online: readonly number[], claims: readonly CpuClaim[]): CpuPartition => {
  const owners = new Map<number, string>();
  for (const { name, dedicated, cpuIds } of claims) {
    if (!dedicated) continue;
    if (cpuIds.length === 0) return { possible: false, detail: `${name} is dedicated but has no CPUs assigned` };
    for (const id of cpuIds) {
      if (!online.includes(id)) return { possible: false, detail: `CPU ${id} of ${name} is not usable on this host` };
      const owner = owners.get(id);
      if (owner !== undefined) return { possible: false, detail: `CPU ${id} is wanted by ${name} and has ${owner}` };
      owners.set(id, name);
    }
  }
  const shared = online.filter((id) => !owners.has(id));
  const sharing = claims.filter(({ dedicated }) => !dedicated);
  if (shared.length === 0 && sharing.length > 0) {
    return {
      possible: false,
      detail: `dedicated instances would take all CPUs (${formatCpuList(online)}) from ${sharing.length} shared ones`,
    };
  }
  return { possible: true, shared };
};

/** CPUs one instance may use in that partition. */
export const cpusOf = (claim: CpuClaim, shared: readonly number[]): readonly number[] => {
  if (claim.dedicated) return claim.sharesToo === true ? [...claim.cpuIds, ...shared] : claim.cpuIds;
  const wanted = claim.cpuIds.filter((id) => shared.includes(id));
  return wanted.length > 0 ? wanted : shared;
};
