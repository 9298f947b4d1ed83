// Agents that are killed while a machine is taken to files, and while one goes on from them: only our own monitor does that.
import { existsSync } from "node:fs";
import { open, readdir, rm, truncate } from "node:fs/promises";
import { join } from "node:path";
import type { Assignment, SnapshotId } from "@bulkhead/contracts";
import { processEnded } from "@bulkhead/namespaces/testing/told-process";
import { busyboxImage } from "@bulkhead/testkit/images";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { Mark } from "./testing/both-agents.ts";
import { sharedParts } from "./testing/machine-rig.ts";
import { MixedHost, placeOf } from "./testing/mixed-host.ts";

const shared = await sharedParts(await busyboxImage());
let host: MixedHost;
let original: Assignment;

vi.setConfig({ testTimeout: 300_000 });
const patience = { timeout: 120_000, interval: 500 };
const snapshotId = "0198c0de-4444-7000-8000-000000000001" as SnapshotId;

/** Counts in its memory, and says so on its disk. */
const counts = `n=0
while :; do n=$((n + 1)); echo "$n $(hostname)" >> /said; sleep 0.2; done`;

beforeAll(async () => {
  host = await MixedHost.open(shared);
  original = await host.start("vm", placeOf(3, ["original-0"]), { command: ["sh", "-c", counts] });
}, 300_000);
afterAll(async () => {
  await host[Symbol.asyncDispose]();
  await rm(shared.directory, { recursive: true, force: true });
}, 120_000);

/** Its last word: a count, and who it takes itself for. */
const lastSaid = async (assignment: Assignment): Promise<[count: number, who: string | undefined]> => {
  const [count, who] = (await host.exec(assignment, "tail -n 1 /said")).split(" ");
  return [Number(count), who];
};

/** It counts on under its own name, from where its memory was: one that booted would begin again. */
const expectGoesOn = async (assignment: Assignment): Promise<void> => {
  const [before] = await lastSaid(assignment);
  await expect.poll(async () => (await lastSaid(assignment))[0], patience).toBeGreaterThan(before + 2);
  expect((await lastSaid(assignment))[1]).toBe(assignment.name);
  expect(await host.exec(assignment, "awk '$1 != NR { print; exit }' /said")).toBe("");
};

const flipBit = async (path: string): Promise<void> => {
  await using file = await open(path, "r+");
  const byte = Buffer.alloc(1);
  await file.read(byte, 0, 1, 4096);
  await file.write(Buffer.of(byte.readUInt8() ^ 1), 0, 1, 4096);
};

const restart = async (): Promise<string> => {
  await host.startAgents();
  return host.adopt();
};

const snapshots = (...names: string[]): string => join(host.paths("vm").state, "snapshots", ...names);
const runOf = ({ instanceId }: Assignment, ...names: string[]): string =>
  join(host.paths("vm").instances, instanceId, "machine", "1.1.0", ...names);

describe("kill -9 of the agent while a machine is taken to files", () => {
  const steps: readonly { readonly name: string; readonly mark: () => Mark }[] = [
    { name: "its processes are kept still", mark: () => ({ path: runOf(original, "halted") }) },
    { name: "its memory is written", mark: () => ({ path: snapshots(`${snapshotId}.making`, "memory") }) },
    { name: "its disk is copied", mark: () => ({ path: snapshots(`${snapshotId}.making`, "disk.new") }) },
    { name: "its record is written", mark: () => ({ path: snapshots(`${snapshotId}.making`, "record.json") }) },
  ];

  test.each(steps)("and $name: it goes on, and nothing is left of the snapshot", async ({ mark }) => {
    await host.agentsDieAt(mark());
    await expect(host.snapshot(original, snapshotId)).rejects.toThrow(processEnded);
    expect(await restart()).toBe(original.instanceId);
    await expect.poll(() => existsSync(runOf(original, "halted")), patience).toBe(false);
    await expectGoesOn(original);
    expect(await readdir(snapshots())).toEqual([]);
  });
});

test("a machine that does not go on is told of, and goes on with the same agent when it can", async () => {
  const mark = { path: snapshots(`${snapshotId}.making`, "disk.new") };
  {
    using _stopped = await host.monitorStopsAt(original, mark);
    await expect(host.snapshot(original, snapshotId)).rejects.toThrow(
      /^SNAPSHOT_STANDSTILL: its processes stand still/,
    );
    expect((await host.contract(original)).violations.join()).toMatch(/its processes stand still since a snapshot/);
    await expect(host.exec(original, "true")).rejects.toThrow(/^STATE_CONFLICT: its processes stand still/);
    await expect(host.snapshot(original, snapshotId)).rejects.toThrow(/^STATE_CONFLICT/);
  }
  await expect.poll(() => existsSync(runOf(original, "halted")), patience).toBe(false);
  await expectGoesOn(original);
  expect((await host.contract(original)).violations.join()).not.toMatch(/stand still/);
  expect(await readdir(snapshots())).toEqual([]);
});

describe("kill -9 of the agent while a copy begins", () => {
  let copy: Assignment;

  beforeAll(async () => {
    await host.snapshot(original, snapshotId);
    copy = host.assignment("vm", placeOf(4, ["copy-0"]), { vm: host.originOf(snapshotId) });
  }, 300_000);
  afterAll(() => host.removeSnapshot(snapshotId));

  const steps: readonly { readonly name: string; readonly mark: () => Mark }[] = [
    { name: "its disk is to be copied", mark: () => ({ path: runOf(copy, "halted") }) },
    { name: "its disk is there", mark: () => ({ path: runOf(copy, "settings") }) },
    { name: "its jail is being made", mark: () => ({ path: join(host.paths("vm").runInstances, copy.instanceId) }) },
    { name: "its monitor listens", mark: () => ({ path: runOf(copy, "ports", "control") }) },
  ];

  test.each(steps)("and $name: it is ended, and begins as a copy again", async ({ mark }) => {
    await host.agentsDieAt(mark());
    await expect(host.begin(copy)).rejects.toThrow(processEnded);
    expect(await restart()).toBe(original.instanceId);
    await expectGoesOn(await host.begin(copy));
    await host.end(copy);
  });

  test("and it knows who it is: it goes on with the next agent", async () => {
    await host.agentsDieAt({ path: runOf(copy, "halted"), content: "thaw" });
    await expect(host.begin(copy)).rejects.toThrow(processEnded);
    expect(await restart()).toContain(copy.instanceId);
    await expect.poll(() => existsSync(runOf(copy, "halted")), patience).toBe(false);
    await expectGoesOn(copy);
    await host.end(copy);
  });
});

test("a snapshot with a damaged file is refused with which, and taken again once it is as it was", async () => {
  await host.snapshot(original, snapshotId);
  const copy = host.assignment("vm", placeOf(6, ["copy-2"]), { vm: host.originOf(snapshotId) });
  for (const name of ["state", "memory", "disk"]) {
    const flip = () => flipBit(snapshots(snapshotId, name));
    await flip();
    await expect(host.begin(copy)).rejects.toThrow(
      `SnapshotCorrupt: it cannot be restored: snapshot ${snapshotId} is damaged: its ${name} is not what was written`,
    );
    await flip();
  }
  await truncate(snapshots(snapshotId, "memory"), 4096);
  await expect(host.begin(copy)).rejects.toThrow("its memory has 4096 bytes, of");
  expect(existsSync(join(host.paths("vm").instances, copy.instanceId))).toBe(false);
  await host.removeSnapshot(snapshotId);
  await expectGoesOn(original);
});

test("a copy whose guest cannot become who it is to be is a failed start that leaves nothing", async () => {
  await host.exec(original, "rm /etc/hostname && mkdir /etc/hostname");
  await host.snapshot(original, snapshotId);
  const copy = host.assignment("vm", placeOf(5, ["copy-1"]), { vm: host.originOf(snapshotId) });
  await expect(host.begin(copy)).rejects.toThrow(/the guest could not start it \(unlink \/etc\/hostname: EISDIR\)/);
  expect(existsSync(join(host.paths("vm").instances, copy.instanceId))).toBe(false);
  await host.removeSnapshot(snapshotId);
  expect(await readdir(snapshots())).toEqual([]);
  await expectGoesOn(original);
});
