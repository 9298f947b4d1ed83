import { mkdir, mkdtempDisposable, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { HostId } from "@bulkhead/contracts";
import { hostPaths } from "@bulkhead/host";
import type { Ended, Jail, JailedRun } from "@bulkhead/node";
import { expect, test, vi } from "vitest";
import { machinePaths } from "./machine-paths.ts";
import { MachineRuntime } from "./machine-runtime.ts";
import { machineAssignment } from "./testing/machine-assignment.ts";

/** An agent that finds one monitor in a jail, beside whose files `record` lies. */
const found = async (record: string) => {
  const root = await mkdtempDisposable("/tmp/bulkhead-unread-");
  const paths = hostPaths(join(root.path, "state"), join(root.path, "run"), "h" as HostId, "vm");
  const assignment = machineAssignment();
  const key = { instanceId: assignment.instanceId, epoch: assignment.epoch, attempt: 0 };
  const { record: place } = machinePaths(paths, key, assignment.imageDigest);
  await mkdir(dirname(place), { recursive: true });
  await writeFile(place, record);
  const jailed = {
    key,
    assignment,
    startedAt: "2026-01-01T00:00:00Z",
    pid: 1,
    paused: false,
    ended: Promise.withResolvers<Ended>().promise,
    stop: vi.fn(() => Promise.resolve()),
    release: vi.fn(() => Promise.resolve()),
    checkContract: () => ({ held: true, violations: [] }),
  };
  const warn = vi.fn();
  const runtime = new MachineRuntime({
    paths,
    jail: { list: () => Promise.resolve([jailed as unknown as JailedRun]) } as unknown as Jail,
    engines: [],
    kernels: {} as never,
    images: { ensure: () => Promise.reject(new Error("not asked for here")) },
    diskRoot: join(root.path, "disks"),
    log: { warn },
  });
  return { runtime, jailed, warn, key, [Symbol.asyncDispose]: () => root[Symbol.asyncDispose]() };
};

const process = { args: ["true"], env: [], cwd: "/", user: "0:0", stopSignal: 15 };

test.each([
  ["whose record is damaged", "{", /its record is lost, or of a release/],
  [
    "of an engine that is not known here",
    JSON.stringify({ assignment: machineAssignment(), process, engine: "new" }),
    /its record is of a release/,
  ],
])("a machine %s runs on, and its contract says so", async (_what, record, why) => {
  await using at = await found(record);
  const [run, ...others] = await at.runtime.list();
  expect(await at.runtime.list()).toEqual([run]);
  expect([others, at.jailed.stop.mock.calls, at.warn.mock.calls.length]).toEqual([[], [], 1]);
  expect(run?.key).toEqual(at.key);
  expect(run?.checkContract()).toEqual({ held: false, violations: [expect.stringMatching(why)] });
  await expect(run?.exec({ command: ["true"], tty: false })).rejects.toMatchObject({ code: "STATE_CONFLICT" });
  expect(await run?.resize({ cpuMillis: 1, memoryBytes: 1 })).toMatchObject({ outcome: "infeasible" });
  await run?.stop(10_000);
  expect(at.jailed.stop).toHaveBeenCalledWith(0);
  await run?.release();
  expect(at.jailed.release).toHaveBeenCalledOnce();
});
