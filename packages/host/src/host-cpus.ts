import { existsSync, watch, type FSWatcher } from "node:fs";
import { join } from "node:path";
import type { Isolation } from "@bulkhead/contracts";
import { lockFile } from "@bulkhead/native-namespaces";
import type { CgroupParents } from "./cgroup-parents.ts";
import { CpuLedger, type CpuState } from "./cpu-ledger.ts";
import { cpusOf, nothingShared, partitionCpus, type CpuUser } from "./cpu-partition.ts";
import { applySharedCpus, sharedCpusetGroup } from "./cpuset-group.ts";
import type { HostPaths } from "./paths.ts";
import { promisedCpus, unionOfCpus, type PromisedCpus } from "./promised-cpus.ts";

export interface HostCpusOptions {
  readonly paths: Pick<HostPaths, "cpus" | "isolation">;
  readonly parents: CgroupParents;
  readonly online: readonly number[];
  /** Whether the other agent has instances that share CPUs, living or starting, with or without that agent. */
  readonly othersShare: () => Promise<boolean>;
  /** hears of every change, by either agent, when the kernel has it */
  readonly changed: () => void;
  /** hears why what nobody waits for was not done */
  readonly failed: (error: unknown) => void;
}

type Partition = Pick<CpuState, "groups" | "users" | "shared">;
type Edit = (users: readonly CpuUser[]) => readonly CpuUser[];

const other = (isolation: Isolation): Isolation => (isolation === "vm" ? "container" : "vm");

/** Its shim has written how it ended: nothing of it runs, whether its agent has heard of that or not. */
const hasEnded = ({ runDir }: CpuUser): boolean => existsSync(join(runDir, "exit"));

const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

/** How long a change may take before another agent asks for the lock to end it, in milliseconds. */
const unfinishedMs = 1_000;

/** How long ends that the other agent has not seen may go unseen here, in milliseconds. */
const endsSeenMs = 1_000;

/**
 * The CPUs of one host: those of dedicated instances are left by all others, of both agents, before they start, and come
 * back when they have ended. Either agent does all of it, with the lock of the host, from what both have written down.
 */
export class HostCpus implements Disposable {
  readonly #options: HostCpusOptions;
  readonly #ledger: CpuLedger;
  readonly #group: string | null;
  /** runs of this agent that share CPUs and want no special ones; nobody else is told of them */
  readonly #sharers = new Set<string>();
  /** its others; what it has written down and is not here is an earlier agent's */
  readonly #users = new Map<string, CpuUser>();
  readonly #watcher: FSWatcher;
  #heard: number;
  #endsSeen = 0;
  #goingOn = false;
  #failing = "";
  #unfinished: NodeJS.Timeout | undefined;
  /** An earlier agent may have ended between what it wrote down and what it told the kernel. */
  #settled = false;
  #closed = false;
  #work: Promise<unknown> = Promise.resolve();

  /** The directory is there already. */
  constructor(options: HostCpusOptions) {
    this.#options = options;
    this.#ledger = new CpuLedger(options.paths.cpus, options.online);
    this.#group = sharedCpusetGroup(options.parents);
    this.#heard = this.#ledger.now.change;
    this.#watcher = watch(options.paths.cpus, { persistent: false }, () => this.#look());
    // The file itself is looked at whenever it matters.
    this.#watcher.on("error", () => undefined);
  }

  /** Has this agent's group ready for its instances, with the CPUs that others leave it. */
  async open(): Promise<void> {
    const { problem } = this.#ledger;
    if (problem !== null) this.#options.failed(new Error(problem));
    await this.#locked(() => this.#change((users) => users, true));
  }

  /** CPUs of a run now; one stat when nothing has changed. */
  promisedTo(name: string): PromisedCpus {
    const { now, problem } = this.#ledger;
    this.#lookForEnds(now.users);
    const promised = promisedCpus(now, this.#users.get(name));
    return problem === null ? promised : { ...promised, settled: false };
  }

  /** Makes room for a run that is about to start. Answers why there is none, with nothing changed. */
  async enter(user: CpuUser): Promise<string | null> {
    if (!user.dedicated && user.cpuIds.length === 0) {
      this.#sharers.add(user.name);
      return null;
    }
    if (user.dedicated && this.#group === null) return "this host has no cpuset controller, so no CPU can be dedicated";
    return this.#locked(async () => {
      const problem = await this.#admit(user);
      if (problem === null) this.#users.set(user.name, user);
      return problem;
    });
  }

  /**
   * Why a run that shares CPUs cannot go on with its start, or null. Asked when its record can be found, after which no
   * other instance takes the last CPU: either that one has seen the record, or this sees that there is none left.
   */
  async refusal(name: string): Promise<string | null> {
    if (!this.#sharers.has(name) || this.#ledger.now.shared.length > 0) return null;
    // Whoever takes the last one may be about to find that he cannot.
    await this.#locked(async () => undefined);
    return this.#ledger.now.shared.length > 0 ? null : nothingShared(this.#options.online);
  }

  /** Gives a run that has just begun what it should have beside what it was made with. */
  async begun(name: string): Promise<void> {
    const user = this.#users.get(name);
    if (user === undefined || (user.dedicated && !user.sharesToo)) return;
    await this.#locked(() => this.#change((users) => users, true));
  }

  /** Notes a run that an earlier agent started; `settle` writes all of them down. */
  adopt(user: CpuUser): void {
    if (user.dedicated || user.cpuIds.length > 0) this.#users.set(user.name, user);
    else this.#sharers.add(user.name);
  }

  /** This agent has no other runs than those it knows, and the kernel has what all need. */
  async settle(): Promise<void> {
    const { isolation } = this.#options.paths;
    await this.#locked(async () => {
      const others = (users: readonly CpuUser[]) => users.filter((user) => user.isolation !== isolation);
      await this.#change((users) => [...others(users), ...this.#users.values()], !this.#settled);
      this.#settled = true;
    });
  }

  /** Gives back what a run had. */
  async leave(name: string): Promise<void> {
    if (this.#closed || this.#sharers.delete(name) || !this.#users.delete(name)) return;
    await this.#locked(() => this.#change((users) => users.filter((user) => user.name !== name)));
  }

  /** One at a time in this process, then on this host: at most one thread of the pool ever waits for the lock. */
  #locked<T>(work: () => Promise<T>): Promise<T> {
    const next = this.#work.then(async () => {
      using _lock = await lockFile(this.#ledger.lock);
      return await work();
    });
    this.#work = next.catch(() => undefined);
    return next;
  }

  /** Tells the kernel, if there is news for it, or at any rate when it is to be told `again`. */
  async #change(edit: Edit, again = false): Promise<void> {
    const was = this.#ledger.now;
    const next = this.#next(was, edit);
    // Another version's CPUs are not ours to change; the group is there, and as wide as it was.
    if (this.#ledger.problem !== null) return this.#apply({ ...next, users: [], shared: [] });
    const isNews = !same(next, { groups: was.groups, users: was.users, shared: was.shared });
    if (isNews) this.#write(next, was);
    if (isNews || again || was.before !== null) await this.#apply(next);
    // What fails above stays as it is, for whoever comes next: nobody is promised more than the kernel has for sure.
    if (isNews || was.before !== null) this.#done(next);
  }

  /** The same for one run more, if there is room for it; else nothing. */
  async #admit(user: CpuUser): Promise<string | null> {
    const was = this.#ledger.now;
    if (this.#ledger.problem !== null) return this.#ledger.problem;
    const next = this.#next(was, (users) => [...users.filter(({ name }) => name !== user.name), user]);
    const early = await this.#problemOf(next);
    if (early !== null) return early;
    this.#write(next, was);
    try {
      // One of the other agent's that had not been there before may have begun; later ones see what is written.
      const late = await this.#problemOf(next);
      if (late !== null) {
        await this.#takeBack(was, next);
        return late;
      }
      await this.#apply(next);
    } catch (error) {
      await this.#takeBack(was, next).catch((err: unknown) => this.#options.failed(err));
      throw error;
    }
    this.#done(next);
    return null;
  }

  async #takeBack(was: CpuState, tried: Partition): Promise<void> {
    const next = this.#next(was, (users) => users);
    this.#write(next, { shared: unionOfCpus(was.shared, tried.shared), before: was.before });
    await this.#apply(next);
    this.#done(next);
  }

  #next(was: CpuState, edit: Edit): Partition {
    const { online, paths } = this.#options;
    const users = edit(was.users)
      .filter((user) => !hasEnded(user))
      .toSorted((a, b) => (a.name < b.name ? -1 : 1));
    const groups = this.#group === null ? was.groups : { ...was.groups, [paths.isolation]: this.#group };
    return { groups, users, shared: [...partitionCpus(online, users, false).shared] };
  }

  async #problemOf({ users, shared }: Partition): Promise<string | null> {
    const { online, othersShare } = this.#options;
    const sharing = this.#sharers.size > 0 || (shared.length === 0 && (await othersShare()));
    return partitionCpus(online, users, sharing).problem;
  }

  #write(next: Partition, { shared, before }: Pick<CpuState, "shared" | "before">): void {
    this.#ledger.write({ ...next, before: unionOfCpus(shared, before ?? []) });
  }

  async #apply({ groups, users, shared }: Partition): Promise<void> {
    if (this.#group === null) return;
    const members = users.flatMap((user) =>
      (user.dedicated && !user.sharesToo) || user.cpuset === null
        ? []
        : [{ path: user.cpuset, cpus: cpusOf(user, shared) }],
    );
    const { mode } = this.#options.parents;
    const others = groups[other(this.#options.paths.isolation)] ?? null;
    await applySharedCpus({ mode, own: this.#group, other: others, shared, members });
  }

  #done(next: Partition): void {
    this.#ledger.write({ ...next, before: null });
    this.#look();
  }

  /** Of every change its runs hear once; what another agent began and did not end is done here. */
  #look(): void {
    const { change, before } = this.#ledger.now;
    if (before !== null) this.#unfinished ??= setTimeout(() => this.#finish(), unfinishedMs).unref();
    else if (change !== this.#heard) {
      this.#heard = change;
      this.#options.changed();
    }
  }

  #finish(): void {
    this.#unfinished = undefined;
    if (this.#ledger.now.before !== null) this.#goOn();
  }

  #lookForEnds(users: readonly CpuUser[]): void {
    const at = performance.now();
    if (users.length === 0 || at - this.#endsSeen < endsSeenMs) return;
    this.#endsSeen = at;
    if (users.some((user) => user.isolation !== this.#options.paths.isolation && hasEnded(user))) this.#goOn();
  }

  #goOn(): void {
    if (this.#goingOn || this.#closed) return;
    this.#goingOn = true;
    this.#locked(() => this.#change((users) => users))
      .then(
        () => (this.#failing = ""),
        (error: unknown) => this.#fail(error),
      )
      .finally(() => {
        this.#goingOn = false;
        // What could not be done may be possible later, and nobody else has to begin something for that.
        if (!this.#closed) this.#look();
      });
  }

  /** Tells once what goes on failing. */
  #fail(error: unknown): void {
    if (String(error) !== this.#failing) this.#options.failed(error);
    this.#failing = String(error);
  }

  /** What happens from now on is the next agent's. */
  [Symbol.dispose](): void {
    this.#closed = true;
    clearTimeout(this.#unfinished);
    this.#watcher.close();
  }
}
