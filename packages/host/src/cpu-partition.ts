import { Isolation } from "@bulkhead/contracts";
import { Type, type Static } from "typebox";
import { formatCpuList } from "./cpu-list.ts";

/** A living or starting run with CPUs of its own, or chosen for it. */
export const CpuUser = Type.Object({
  isolation: Isolation,
  name: Type.String(),
  dedicated: Type.Boolean(),
  /** CPUs the scheduler chose; empty: any shared one */
  cpuIds: Type.Array(Type.Integer({ minimum: 0 })),
  /** a dedicated one may use the shared CPUs too, for threads that are not the instance's own */
  sharesToo: Type.Boolean(),
  /** its directory in the hierarchy with the cpuset controller; null while it has none */
  cpuset: Type.Union([Type.String(), Type.Null()]),
  /** its per-boot directory, where its shim writes how it ended */
  runDir: Type.String(),
});
export type CpuUser = Static<typeof CpuUser>;

/** What counts for the partition. */
export type CpuClaim = Pick<CpuUser, "name" | "dedicated" | "cpuIds" | "sharesToo">;

export interface CpuPartition {
  /** CPUs that all shared instances may use, so that each dedicated one has its own */
  readonly shared: readonly number[];
  /** why not everyone can have what is claimed; null: all can */
  readonly problem: string | null;
}

const problemOf = (online: readonly number[], claims: readonly CpuClaim[]): string | null => {
  const owners = new Map<number, string>();
  for (const { name, dedicated, cpuIds } of claims) {
    if (!dedicated) continue;
    if (cpuIds.length === 0) return `${name} is dedicated but has no CPUs assigned`;
    for (const id of cpuIds) {
      if (!online.includes(id)) return `CPU ${id} of ${name} is not usable on this host`;
      const owner = owners.get(id);
      if (owner !== undefined) return `CPU ${id} is wanted by ${name} and has ${owner}`;
      owners.set(id, name);
    }
  }
  return null;
};

/** Why no shared instance can run beside dedicated ones that have all CPUs. */
export const nothingShared = (online: readonly number[]): string =>
  `dedicated instances have all CPUs (${formatCpuList(online)}), and shared ones would have none`;

/**
 * Which CPUs all shared instances may use. A problem when a CPU is claimed twice, does not exist, or nothing would be left
 * for the shared ones, of which there may be others than those who claim.
 */
export const partitionCpus = (
  online: readonly number[],
  claims: readonly CpuClaim[],
  othersShare: boolean,
): CpuPartition => {
  const taken = new Set(claims.flatMap(({ dedicated, cpuIds }) => (dedicated ? cpuIds : [])));
  const shared = online.filter((id) => !taken.has(id));
  const sharing = othersShare || claims.some(({ dedicated }) => !dedicated);
  const problem = problemOf(online, claims);
  return { shared, problem: problem ?? (shared.length === 0 && sharing ? nothingShared(online) : null) };
};

/** CPUs one instance may use in that partition. */
export const cpusOf = (claim: CpuClaim, shared: readonly number[]): readonly number[] => {
  if (claim.dedicated) return claim.sharesToo ? [...claim.cpuIds, ...shared] : claim.cpuIds;
  const wanted = claim.cpuIds.filter((id) => shared.includes(id));
  return wanted.length > 0 ? wanted : shared;
};
