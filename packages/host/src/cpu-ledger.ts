import { readFileSync, renameSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Type, type Static } from "typebox";
import { Compile } from "typebox/compile";
import { readBootId } from "./boot.ts";
import { CpuUser } from "./cpu-partition.ts";

const cpuIds = Type.Array(Type.Integer({ minimum: 0 }));

/** Who has which CPUs of a host, of both agents' instances. */
const CpuState = Type.Object({
  /** of this file's form; the first said none */
  version: Type.Optional(Type.Literal(1)),
  bootId: Type.String(),
  /** counts the changes of this file */
  change: Type.Integer({ minimum: 1 }),
  /** cgroup of each agent's shared instances */
  groups: Type.Partial(Type.Object({ container: Type.String(), vm: Type.String() })),
  users: Type.Array(CpuUser),
  shared: cpuIds,
  /** CPUs that may still be in use as shared ones, while the kernel is being told; null: it has what is said here */
  before: Type.Union([cpuIds, Type.Null()]),
});
export type CpuState = Static<typeof CpuState>;

const checkState = Compile(CpuState);
const checkBoot = Compile(Type.Object({ bootId: Type.String() }));

/** Null for what is no JSON, or has just gone with its whole directory. */
const readJson = (path: string): unknown => {
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    if (error instanceof SyntaxError || (error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
};

/**
 * The file in which a host's agents tell each other whose its CPUs are. It is read by anybody at any time and written by
 * who has the lock: before the kernel is told, and after. Its modification time is the number of its change, in seconds:
 * so one stat says whether there is news, however fast two changes follow each other.
 */
export class CpuLedger {
  readonly lock: string;
  readonly #path: string;
  readonly #online: readonly number[];
  #known: CpuState;
  #foreign = false;

  constructor(directory: string, online: readonly number[]) {
    this.lock = join(directory, "lock");
    this.#path = join(directory, "partition.json");
    this.#online = online;
    this.#known = this.#empty(0);
  }

  #empty(change: number): CpuState {
    return { bootId: readBootId(), change, groups: {}, users: [], shared: [...this.#online], before: null };
  }

  /**
   * Why nobody may change it, and nothing of it is known: it is of this boot, and another version's, whose agent may have
   * given CPUs away. Null while it is understood.
   */
  get problem(): string | null {
    void this.now;
    return this.#foreign
      ? `${this.#path} was written by another version of this software, and says whose CPUs are whose; update both agents of this host, or remove it when no instance has CPUs of its own`
      : null;
  }

  /** What is said now. */
  get now(): CpuState {
    const written = statSync(this.#path, { throwIfNoEntry: false });
    const change = written === undefined ? 0 : Math.floor(written.mtimeMs / 1000);
    if (change !== this.#known.change) this.#known = this.#read(change);
    return this.#known;
  }

  /** What an earlier boot left, or nobody sensible, says nothing. */
  #read(change: number): CpuState {
    const state = change === 0 ? null : readJson(this.#path);
    this.#foreign = false;
    if (!checkBoot.Check(state) || state.bootId !== readBootId()) return this.#empty(change);
    if (checkState.Check(state)) return state;
    this.#foreign = true;
    return this.#empty(change);
  }

  /** Says something else; only with the lock, and while there is no `problem`. */
  write(next: Pick<CpuState, "groups" | "users" | "shared" | "before">): void {
    const { bootId, change } = this.now;
    const { groups, users, shared, before } = next;
    const state: CpuState = { version: 1, bootId, change: change + 1, groups, users, shared, before };
    const draft = `${this.#path}.new`;
    writeFileSync(draft, JSON.stringify(state), { mode: 0o600 });
    utimesSync(draft, state.change, state.change);
    renameSync(draft, this.#path);
    this.#known = state;
  }
}
