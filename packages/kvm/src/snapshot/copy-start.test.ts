import { existsSync } from "node:fs";
import { mkdir, mkdtempDisposable, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Assignment, HostId, InstanceId, SnapshotId } from "@bulkhead/contracts";
import type { Ended, JailedRun } from "@bulkhead/node";
import { expect, test } from "vitest";
import type { Engine } from "../engine/engine.ts";
import type { MachinePaths } from "../machine-paths.ts";
import { answering } from "../testing/fake-guest.ts";
import { machineAssignment } from "../testing/machine-assignment.ts";
import { runPlace } from "../testing/run-place.ts";
import { awaitCopy, identityOf, originOf, undoHalfCopies, type BegunCopy } from "./copy-start.ts";
import { haltOf, writeHalt } from "./halt.ts";
import { SnapshotStore } from "./snapshot-store.ts";

const restoredFrom = { snapshotId: "0198c0de-4444-7000-8000-000000000001" as SnapshotId, hostId: "h" as HostId };

const assignment = (vm: Assignment["spec"]["vm"]): Assignment => {
  const { spec } = machineAssignment();
  return machineAssignment({
    instanceId: "0198c0de-0000-7000-8000-00000000000a" as InstanceId,
    name: "copy-1",
    spec: { ...spec, ...(vm === undefined ? {} : { vm }) },
  });
};

test("an instance is a copy once: with a disk of its own, or no snapshot to begin from, it boots", async () => {
  await using directory = await mkdtempDisposable("/tmp/bulkhead-copy-");
  const store = new SnapshotStore(join(directory.path, "snapshots"));
  const scratch = join(directory.path, "scratch");
  const paths = { scratch } as MachinePaths;
  expect(await originOf(store, assignment(undefined), paths)).toBeNull();
  // What it should begin from is not here: it does not boot instead.
  await expect(originOf(store, assignment({ restoredFrom }), paths)).rejects.toMatchObject({
    reason: "RuntimeFailed",
    message: expect.stringMatching(/cannot be restored: snapshot .* is not on this host/) as string,
  });
  await writeFile(scratch, "");
  expect(await originOf(store, assignment({ restoredFrom }), paths)).toBeNull();
});

test("a copy is told its own name, and an id that no other has", () => {
  expect(identityOf(assignment({ restoredFrom }))).toEqual({
    hostname: "copy-1",
    network: undefined,
    machineId: "0198c0de00007000800000000000000a",
  });
});

test("the disk of a copy that never went on is taken back, and that of one that did is kept", async () => {
  await using place = await runPlace();
  const { root, scratch } = place.paths;
  const run = join(root, "1.1.0");
  await mkdir(run);
  await writeFile(scratch, "");
  for (const halt of ["thaw", "identity"] as const) {
    await writeHalt({ ...place.paths, run }, halt);
    await undoHalfCopies(assignment({ restoredFrom }), place.paths);
    expect([existsSync(scratch), existsSync(run)]).toEqual(halt === "thaw" ? [true, true] : [false, false]);
  }
});

test.each(["", "thaw", "identity"])("the disk of what is no copy is kept, whatever is marked (%j)", async (mark) => {
  await using place = await runPlace();
  const { root, scratch } = place.paths;
  const run = join(root, "1.1.0");
  await mkdir(run);
  await writeFile(scratch, "");
  await writeFile(join(run, "halted"), mark);
  await undoHalfCopies(assignment(undefined), place.paths);
  expect(existsSync(scratch)).toBe(true);
});

test("the disk of a copy is kept when its mark is damaged", async () => {
  await using place = await runPlace();
  const { root, scratch } = place.paths;
  await mkdir(join(root, "1.1.0"));
  await writeFile(scratch, "");
  await writeFile(join(root, "1.1.0", "halted"), "");
  await undoHalfCopies(assignment({ restoredFrom }), place.paths);
  expect(existsSync(scratch)).toBe(true);
});

/** A copy whose monitor ends when it is told to. */
const begunCopy = (paths: MachinePaths, connect: Engine["connect"]) => {
  const { promise: ended, resolve: end } = Promise.withResolvers<Ended>();
  const copy = {
    jailed: { ended } as JailedRun,
    paths,
    process: { args: ["true"], env: [], cwd: "/", user: "0:0", stopSignal: 15 },
    lastWords: () => Promise.resolve(": its last words"),
    engine: { connect, standstill: { end: () => Promise.resolve() } } as unknown as Engine,
    identity: identityOf(assignment({ restoredFrom })),
  } satisfies BegunCopy;
  const exit = {
    exitCode: 0,
    signal: null,
    oomKilled: false,
    startedAt: "2026-01-01T00:00:00Z",
    finishedAt: "2026-01-01T00:00:00Z",
  };
  return { copy, end: () => end({ exit, reason: "Exited", detail: "switched off" }) };
};

test("a copy goes on when its guest has become who it is to be", async () => {
  await using place = await runPlace();
  await using guest = await answering(0);
  await writeHalt(place.paths, "identity");
  await awaitCopy(begunCopy(place.paths, guest.connect).copy, new AbortController().signal);
  expect(guest.heard.map(({ type }) => type)).toEqual([66, 65]);
  expect(haltOf(place.paths)).toBeNull();
});

test("a copy whose guest refuses what it is to be is a failed start, and is never let go on", async () => {
  await using place = await runPlace();
  await using guest = await answering(22);
  await writeHalt(place.paths, "identity");
  const { copy, end } = begunCopy(place.paths, guest.connect);
  const start = awaitCopy(copy, new AbortController().signal);
  await expect.poll(() => guest.heard.length).toBe(1);
  end();
  await expect(start).rejects.toMatchObject({
    reason: "RuntimeFailed",
    message: "the copy ended before it went on (switched off): its last words",
    cause: { message: "the guest could not take on what it is told to be: EINVAL" },
  });
  expect(guest.heard.map(({ type }) => type)).toEqual([66]);
  expect(haltOf(place.paths)).toBe("identity");
});
