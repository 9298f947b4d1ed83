import { addon, type Limits, type ThreadAffinity, type Usage } from "./addon.ts";
import { NativeError, unwrap } from "./error.ts";
import type { OciResources } from "./oci.ts";
import type { CgroupPlacement } from "./plan.ts";

const EBUSY = 16;
const ETIMEDOUT = 110;
const REMOVE_DEADLINE_MS = 5_000;
// Without an event to wait for (cgroup v1), the state is asked for this often.
const POLL_MS = 5;

/** Changes limits of a running instance, only those named. Throws NativeError; then nothing has changed. */
export function applyResources(cgroup: CgroupPlacement, resources: OciResources): void {
  unwrap(addon.applyResources(JSON.stringify({ cgroup, resources })));
}

/** Resolves when every process stands still. On time-out it thaws again and rejects with ETIMEDOUT. */
export async function freeze(cgroup: CgroupPlacement, timeoutMs: number): Promise<void> {
  unwrap(addon.requestFreeze(cgroup.paths, true));
  const done = (): boolean => unwrap(addon.frozen(cgroup.paths));
  let stopped = false;
  try {
    stopped = await until(cgroup, done, timeoutMs);
  } finally {
    if (!stopped) thaw(cgroup);
  }
  if (!stopped) throw new NativeError({ ok: false, step: "freeze", op: "wait", errno: ETIMEDOUT, path: "" });
}

export function thaw(cgroup: CgroupPlacement): void {
  unwrap(addon.requestFreeze(cgroup.paths, false));
}

/** SIGKILL to every process of the instance, frozen or not. */
export function killAll(cgroup: CgroupPlacement): void {
  unwrap(addon.killAll(cgroup.paths));
}

/** Removes the instance's cgroups; waits at most 5 s for processes that are still ending, then rejects with EBUSY. */
export async function removeCgroup(cgroup: CgroupPlacement): Promise<void> {
  const removed = await until(cgroup, () => unwrap(addon.removeOnce(cgroup.paths)), REMOVE_DEADLINE_MS);
  if (!removed) throw new NativeError({ ok: false, step: "remove cgroup", op: "rmdir", errno: EBUSY, path: "" });
}

/** Missing files count as zero. */
export function readUsage(cgroup: CgroupPlacement): Usage {
  return addon.readUsage(cgroup.paths);
}

/** What the kernel enforces now. */
export function readLimits(cgroup: CgroupPlacement): Limits {
  return addon.readLimits(cgroup.paths);
}

/** Asks the scheduler about every thread of the instance. Throws NativeError, ENOENT when it is gone. */
export function readAffinity(cgroup: CgroupPlacement, cpus: readonly number[]): ThreadAffinity {
  return unwrap(addon.readAffinity(cgroup.paths, cpus));
}

/** Asks again on every change of cgroup.events, and on a timer for what v1 does not announce. */
async function until(cgroup: CgroupPlacement, done: () => boolean, timeoutMs: number): Promise<boolean> {
  if (done()) return true;
  const { promise, resolve, reject } = Promise.withResolvers<boolean>();
  const check = (): void => {
    try {
      if (done()) resolve(true);
    } catch (error) {
      reject(error instanceof Error ? error : new Error(String(error)));
    }
  };
  const events = addon.openEvents(cgroup.paths);
  const watch = events.ok ? new addon.FdWatch(events.value, "priority", check) : null;
  const poll = setInterval(check, POLL_MS);
  const deadline = setTimeout(() => resolve(false), timeoutMs);
  try {
    return await promise;
  } finally {
    clearTimeout(deadline);
    clearInterval(poll);
    watch?.close();
    if (events.ok) addon.closeFd(events.value);
  }
}
