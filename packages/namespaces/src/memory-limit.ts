import { access, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { CgroupMode } from "@bulkhead/host";
import { freeze, thaw, type CgroupPlacement } from "@bulkhead/native-namespaces";
import type { ResizeOutcome } from "@bulkhead/node";

/** How long a shrink may wait for memory to come free before everything is as before, in milliseconds. */
const shrinkDeadlineMs = 2_000;
const retryMs = 50;
/** Longest an instance may take to stand still while its limit is set, in milliseconds. */
const freezeTimeoutMs = 200;
/** The kernel counts memory in pages (x86-64: 4 KiB) and rounds limits down to whole ones. */
const pageBytes = 4096;
/** Room that an intermediate limit leaves, so that an instance which grows meanwhile is not killed for it. */
const headroomOf = (usageBytes: number): number => Math.max(16 * 2 ** 20, usageBytes / 4);

const isCode = (error: unknown, ...codes: string[]): boolean =>
  error instanceof Error && "code" in error && codes.includes(String(error.code));

const read = async (path: string): Promise<number> => Number((await readFile(path, "utf8")).trim());

const exists = async (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

/** Numbers of memory.stat by name. */
export const parseMemoryStat = (text: string): ReadonlyMap<string, number> =>
  new Map(
    text
      .trim()
      .split("\n")
      .map((line) => line.split(" "))
      .map(([name = "", value]) => [name, Number(value)]),
  );

/** Bytes that no reclaim can take: anonymous and shared memory (nothing swaps), locked pages, page tables and stacks. */
export const unreclaimableBytes = (stat: ReadonlyMap<string, number>, mode: CgroupMode): number => {
  const names =
    mode === "v2"
      ? ["active_anon", "inactive_anon", "unevictable", "kernel_stack", "pagetables", "slab_unreclaimable"]
      : ["total_active_anon", "total_inactive_anon", "total_unevictable"];
  return names.reduce((sum, name) => sum + (stat.get(name) ?? 0), 0);
};

/** What is to become of an instance's hard memory limit. */
export interface MemoryChange {
  readonly cgroup: CgroupPlacement;
  readonly mode: CgroupMode;
  readonly fromBytes: number;
  readonly toBytes: number;
  /** it stands still already, by its user's wish, and is to stay so */
  readonly paused: boolean;
}

interface Change extends MemoryChange {
  readonly directory: string;
}

const deferred = async ({ directory, mode, toBytes }: Change): Promise<ResizeOutcome> => {
  const stat = parseMemoryStat(await readFile(join(directory, "memory.stat"), "utf8"));
  const nearest = Math.ceil((unreclaimableBytes(stat, mode) * 1.05) / 2 ** 20) * 2 ** 20;
  return {
    outcome: "deferred",
    detail:
      `memory cannot shrink to ${toBytes} bytes now: the instance holds more that cannot be reclaimed; ` +
      `the nearest feasible memoryBytes is about ${Math.max(nearest, toBytes)}`,
  };
};

/** Writes both v1 limits, or neither; false when the kernel cannot get below the new value (EBUSY). */
const writeV1 = async (directory: string, fromBytes: number, toBytes: number): Promise<boolean> => {
  const limit = join(directory, "memory.limit_in_bytes");
  const withSwap = join(directory, "memory.memsw.limit_in_bytes");
  const countsSwap = await exists(withSwap);
  // The kernel refuses a limit above the one on memory and swap together, at every moment.
  if (toBytes > fromBytes && countsSwap) await writeFile(withSwap, String(toBytes));
  try {
    await writeFile(limit, String(toBytes));
    if (toBytes < fromBytes && countsSwap) await writeFile(withSwap, String(toBytes));
    return true;
  } catch (error) {
    if (!isCode(error, "EBUSY")) throw error;
    await writeFile(limit, String(fromBytes));
    return false;
  }
};

/** Who would be killed for memory waits instead (memory.oom_control of cgroup v1); kernels without it only kill. */
const holdOomKiller = async (directory: string, hold: boolean): Promise<void> => {
  await writeFile(join(directory, "memory.oom_control"), hold ? "1" : "0").catch(() => undefined);
};

const someoneWaitsForMemory = async (directory: string): Promise<boolean> =>
  /^under_oom 1$/m.test(await readFile(join(directory, "memory.oom_control"), "utf8").catch(() => ""));

const shrinkV1 = async (change: Change): Promise<ResizeOutcome> => {
  const { directory, toBytes, fromBytes } = change;
  const deadline = performance.now() + shrinkDeadlineMs;
  let current = fromBytes;
  await holdOomKiller(directory, true);
  try {
    while (!(await someoneWaitsForMemory(directory))) {
      if (await writeV1(directory, current, toBytes)) {
        current = toBytes;
        // Below the new limit and then above it before the OOM killer is back: that was this change's doing.
        if (await someoneWaitsForMemory(directory)) break;
        return { outcome: "applied" };
      }
      if (performance.now() >= deadline) break;
      const usage = await read(join(directory, "memory.usage_in_bytes"));
      const step = Math.max(toBytes, Math.ceil(usage + headroomOf(usage)));
      if (step < current && (await writeV1(directory, current, step))) current = step;
      await delay(retryMs);
    }
    if (current !== fromBytes) await writeV1(directory, current, fromBytes);
    return await deferred(change);
  } finally {
    await holdOomKiller(directory, false);
  }
};

/**
 * Sets memory.max where the instance is below it, and false where it is not. It stands still meanwhile: a limit set
 * below what is in use makes the kernel kill (Documentation/admin-guide/cgroup-v2.rst, memory.max).
 */
const commitV2 = async ({ cgroup, directory, toBytes, paused }: Change): Promise<boolean> => {
  if (!paused) {
    try {
      await freeze(cgroup, freezeTimeoutMs);
    } catch (error) {
      if (!isCode(error, "ETIMEDOUT")) throw error;
      return false;
    }
  }
  try {
    if ((await read(join(directory, "memory.current"))) > toBytes) return false;
    await writeFile(join(directory, "memory.max"), String(toBytes));
    return true;
  } finally {
    if (!paused) thaw(cgroup);
  }
};

const shrinkV2 = async (change: Change): Promise<ResizeOutcome> => {
  const { directory, toBytes } = change;
  const high = join(directory, "memory.high");
  const current = join(directory, "memory.current");
  const deadline = performance.now() + shrinkDeadlineMs;
  await writeFile(high, String(toBytes));
  try {
    for (;;) {
      const excess = (await read(current)) - toBytes;
      if (excess <= 0 && (await commitV2(change))) return { outcome: "applied" };
      if (performance.now() >= deadline) return await deferred(change);
      if (excess > 0) {
        await writeFile(join(directory, "memory.reclaim"), String(excess)).catch((error: unknown) => {
          // EAGAIN: less could be reclaimed than was asked for; ENOENT: kernels before 5.19
          if (!isCode(error, "EAGAIN", "ENOENT")) throw error;
        });
      }
      if ((await read(current)) > toBytes) await delay(retryMs);
    }
  } finally {
    await writeFile(high, "max");
  }
};

const directoryOf = ({ cgroup, mode }: Pick<MemoryChange, "cgroup" | "mode">): string | undefined =>
  cgroup.paths[mode === "v2" ? "unified" : "memory"];

/**
 * Changes the hard memory limit of a running instance without ever killing for it: growing is a write; shrinking
 * reclaims, waits up to 2 s, and otherwise leaves the old limit and answers `deferred` with what would work. The
 * writes may take long (the kernel reclaims in them), so they run in the thread pool.
 */
export const changeMemoryLimit = async (wanted: MemoryChange): Promise<ResizeOutcome> => {
  const { mode, fromBytes, toBytes } = wanted;
  const directory = directoryOf(wanted);
  if (directory === undefined) return { outcome: "infeasible", detail: "this host has no memory controller" };
  const change = { ...wanted, directory };
  if (toBytes < fromBytes) return mode === "v2" ? shrinkV2(change) : shrinkV1(change);
  if (mode === "v2") await writeFile(join(directory, "memory.max"), String(toBytes));
  else await writeV1(directory, fromBytes, toBytes);
  return { outcome: "applied" };
};

/** Takes back a shrink that an agent began and did not live to finish. The limit is only ever raised. */
export const settleMemoryLimit = async (
  found: Pick<MemoryChange, "cgroup" | "mode"> & { readonly memoryBytes: number },
): Promise<void> => {
  const { mode, memoryBytes } = found;
  const directory = directoryOf(found);
  if (directory === undefined) return;
  try {
    if (mode === "v2") {
      if ((await read(join(directory, "memory.max"))) < memoryBytes) {
        await writeFile(join(directory, "memory.max"), String(memoryBytes));
      }
      await writeFile(join(directory, "memory.high"), "max");
      return;
    }
    const limit = await read(join(directory, "memory.limit_in_bytes"));
    if (limit < Math.floor(memoryBytes / pageBytes) * pageBytes) await writeV1(directory, limit, memoryBytes);
    await holdOomKiller(directory, false);
  } catch (error) {
    // It may end, and its cgroup with it, at any moment.
    if (!isCode(error, "ENOENT", "ENODEV")) throw error;
  }
};
