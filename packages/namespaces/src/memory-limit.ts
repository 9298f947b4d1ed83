import { access, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { CgroupMode } from "@bulkhead/host";
import type { CgroupPlacement } from "@bulkhead/native-namespaces";
import type { ResizeOutcome } from "@bulkhead/node";

/** How long a shrink may wait for memory to come free before everything is as before, in milliseconds. */
const shrinkDeadlineMs = 2_000;
const retryMs = 50;
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

interface Change {
  readonly directory: string;
  readonly mode: CgroupMode;
  readonly fromBytes: number;
  readonly toBytes: number;
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

const shrinkV1 = async (change: Change): Promise<ResizeOutcome> => {
  const { directory, toBytes } = change;
  const deadline = performance.now() + shrinkDeadlineMs;
  let current = change.fromBytes;
  for (;;) {
    if (await writeV1(directory, current, toBytes)) return { outcome: "applied" };
    if (performance.now() >= deadline) break;
    const usage = await read(join(directory, "memory.usage_in_bytes"));
    const step = Math.max(toBytes, Math.ceil(usage + headroomOf(usage)));
    if (step < current && (await writeV1(directory, current, step))) current = step;
    await delay(retryMs);
  }
  if (current !== change.fromBytes) await writeV1(directory, current, change.fromBytes);
  return deferred(change);
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
      if (excess <= 0) {
        await writeFile(join(directory, "memory.max"), String(toBytes));
        return { outcome: "applied" };
      }
      if (performance.now() >= deadline) return await deferred(change);
      await writeFile(join(directory, "memory.reclaim"), String(excess)).catch((error: unknown) => {
        // EAGAIN: less could be reclaimed than was asked for; ENOENT: kernels before 5.19
        if (!isCode(error, "EAGAIN", "ENOENT")) throw error;
      });
      if ((await read(current)) > toBytes) await delay(retryMs);
    }
  } finally {
    await writeFile(high, "max");
  }
};

/**
 * Changes the hard memory limit of a running instance without ever killing for it: growing is a write; shrinking
 * reclaims, waits up to 2 s, and otherwise leaves the old limit and answers `deferred` with what would work. The
 * writes may take long (the kernel reclaims in them), so they run in the thread pool.
 */
export const changeMemoryLimit = async (options: {
  cgroup: CgroupPlacement;
  mode: CgroupMode;
  fromBytes: number;
  toBytes: number;
}): Promise<ResizeOutcome> => {
  const { cgroup, mode, fromBytes, toBytes } = options;
  const directory = cgroup.paths[mode === "v2" ? "unified" : "memory"];
  if (directory === undefined) return { outcome: "infeasible", detail: "this host has no memory controller" };
  const change = { directory, mode, fromBytes, toBytes };
  if (toBytes < fromBytes) return mode === "v2" ? shrinkV2(change) : shrinkV1(change);
  if (mode === "v2") await writeFile(join(directory, "memory.max"), String(toBytes));
  else await writeV1(directory, fromBytes, toBytes);
  return { outcome: "applied" };
};
