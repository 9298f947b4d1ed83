import {
  applySharedCpus,
  cpusOf,
  formatCpuList,
  partitionCpus,
  sharedCpusetGroup,
  type CgroupParents,
  type CpuClaim,
} from "@bulkhead/host";
import type { Assignment } from "@bulkhead/contracts";
import { StartFailure, type JailedRun } from "@bulkhead/node";
import { runName } from "./instance-paths.ts";
import { keyOf, type RunRecord } from "./run-record.ts";

/** A living or starting run, as far as CPUs are concerned. */
export interface CpuUser extends CpuClaim {
  /** its directory in the hierarchy with the cpuset controller; null while it has none */
  readonly cpuset: string | null;
}

type CpuListener = Pick<JailedRun, "onCpusChanged">;

/** Whether an instance has CPUs of its own. */
export const isDedicated = ({ spec }: Assignment): boolean => spec.resources.cpuPolicy === "dedicated";

/** How a run counts for the CPU partition. */
export const cpuUserOf = (
  run: Pick<RunRecord, "assignment" | "attempt" | "cgroup" | "cpuIds" | "sharesCpus">,
): CpuUser => ({
  name: `${run.assignment.instanceId}.${runName(keyOf(run))}`,
  dedicated: isDedicated(run.assignment),
  cpuIds: run.cpuIds,
  sharesToo: run.sharesCpus ?? false,
  cpuset: run.cgroup["cpuset"] ?? run.cgroup["unified"] ?? null,
});

/**
 * Keeps dedicated CPUs free of shared instances: before a dedicated one starts, all shared ones leave its CPUs; after
 * it has ended they come back. One change at a time, of which every run hears when the kernel has it.
 */
export class CpuSharing {
  readonly #parents: CgroupParents;
  readonly #online: readonly number[];
  readonly #runs: () => Iterable<CpuListener>;
  readonly #users = new Map<string, CpuUser>();
  #shared: readonly number[];
  /** what the kernel was last told; null: not yet, an earlier agent may have left another partition */
  #applied: string | null = null;
  #work: Promise<void> = Promise.resolve();

  constructor(parents: CgroupParents, online: readonly number[], runs: () => Iterable<CpuListener>) {
    this.#parents = parents;
    this.#online = online;
    this.#runs = runs;
    this.#shared = online;
  }

  /** CPUs a run may use now. */
  cpusOf(name: string): readonly number[] {
    const user = this.#users.get(name);
    return user === undefined ? this.#shared : cpusOf(user, this.#shared);
  }

  /** Makes room for a run. Rejects StartFailure ResourceExhausted, with nothing changed, when there is none. */
  async enter(user: CpuUser): Promise<void> {
    const partition = partitionCpus(this.#online, [...this.#users.values(), user]);
    if (!partition.possible) throw new StartFailure("ResourceExhausted", partition.detail);
    if (user.dedicated && sharedCpusetGroup(this.#parents) === null) {
      throw new StartFailure("ResourceExhausted", "this host has no cpuset controller, so no CPU can be dedicated");
    }
    this.#users.set(user.name, user);
    this.#shared = partition.shared;
    await this.#apply();
  }

  /** Gives a run that has just begun what it should have now: its cpuset was made of what there was before. */
  async begun(name: string): Promise<void> {
    if (this.#users.get(name)?.sharesToo !== true) return;
    this.#applied = null;
    await this.#apply();
  }

  /** Notes a run that an earlier agent started; `settle` applies what all of them need. */
  adopt(user: CpuUser): void {
    this.#users.set(user.name, user);
  }

  /** Gives back what a run had. */
  async leave(name: string): Promise<void> {
    if (!this.#users.delete(name)) return;
    await this.settle();
  }

  /** Brings the kernel to what the known runs need. */
  async settle(): Promise<void> {
    const partition = partitionCpus(this.#online, [...this.#users.values()]);
    if (partition.possible) this.#shared = partition.shared;
    await this.#apply();
  }

  async #apply(): Promise<void> {
    const next = this.#work.then(() => this.#applyNow());
    this.#work = next.catch(() => undefined);
    await next;
  }

  async #applyNow(): Promise<void> {
    const wanted = formatCpuList(this.#shared);
    if (wanted === this.#applied) return;
    const members = [...this.#users.values()].flatMap((user) =>
      (user.dedicated && user.sharesToo !== true) || user.cpuset === null
        ? []
        : [{ path: user.cpuset, cpus: cpusOf(user, this.#shared) }],
    );
    await applySharedCpus(this.#parents, this.#shared, members);
    this.#applied = wanted;
    for (const run of this.#runs()) run.onCpusChanged?.();
  }
}
