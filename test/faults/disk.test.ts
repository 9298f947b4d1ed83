import { execFileSync } from "node:child_process";
import {
  chmodSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { busyboxImage, redisImage } from "@bulkhead/testkit/images";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startFleet, type Fleet } from "../fleet.ts";

const resources = { cpuMillis: 50, memoryBytes: 16 * 1024 * 1024, pidsMax: 16 };
const diskBytes = 96 * 1024 * 1024;
const restart = { policy: "never" as const };

/** A small ext4 file system of its own, without blocks reserved for root, as `path`; gone again when disposed of. */
const mountDisk = (path: string): Disposable => {
  const directory = mkdtempSync("/tmp/bulkhead-test-disk-");
  const image = join(directory, "ext4");
  const mountPoint = join(directory, "mounted");
  using undo = new DisposableStack();
  undo.defer(() => rmSync(directory, { recursive: true }));
  closeSync(openSync(image, "wx"));
  truncateSync(image, diskBytes);
  execFileSync("mkfs.ext4", ["-q", "-m", "0", image]);
  mkdirSync(mountPoint);
  // The kernel gives the loop device back at the unmount (mount(8), "loop-device support").
  execFileSync("mount", ["-o", "loop,nodev,nosuid", image, mountPoint]);
  // Refused while anything still uses it: a leaked mount or process fails the suite here.
  undo.defer(() => execFileSync("umount", [mountPoint]));
  chmodSync(directory, 0o711);
  mkdirSync(dirname(path), { recursive: true });
  symlinkSync(mountPoint, path);
  return undo.move();
};

/** Writes until the disk takes not one byte more. */
const fillDisk = (path: string): void => {
  const file = openSync(path, "w");
  try {
    for (let bytes = 1024 * 1024; bytes >= 1;) {
      try {
        writeSync(file, Buffer.alloc(bytes));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
        bytes = Math.floor(bytes / 2);
      }
    }
  } finally {
    closeSync(file);
  }
};

describe("a full disk under a host's state", () => {
  let fleet: Fleet;
  const ballast = (): string => join(fleet.stateDirectory, "hosts", "ballast");

  beforeAll(async () => {
    fleet = await startFleet({}, (state) => mountDisk(join(state, "hosts")));
    await fleet.importImage("busybox", await busyboxImage());
    await fleet.run("steady", { image: "busybox", command: ["sleep", "100000"], resources });
  });
  afterAll(() => fleet[Symbol.asyncDispose]());

  test("a start fails by its right name and leaves nothing; what runs runs on", async () => {
    const pid = await fleet.pidOf("steady-0");
    expect(statSync(join(fleet.stateDirectory, "hosts")).dev).not.toBe(statSync(fleet.stateDirectory).dev);
    fillDisk(ballast());
    await fleet.create("late", { image: "busybox", command: ["sleep", "100000"], resources, restart });
    const failed = await fleet.waitFor("late-0", "failed");
    expect(failed).toMatchObject({ reason: "DiskFull" });
    expect(failed.detail).toMatch(/no space left/i);
    expect(fleet.tracesOf(failed.id).filter((path) => !path.startsWith(fleet.stateDirectory))).toEqual([]);
    expect(fleet.isAlive(pid)).toBe(true);
    expect(await fleet.exec("steady-0", ["echo", "still here"])).toMatchObject({
      exitCode: 0,
      stdout: "still here\n",
    });
  });

  test("an image that does not fit: the disk is named, not the image", async () => {
    await fleet.importImage("redis", await redisImage());
    await fleet.create("roomy", { image: "redis", resources, restart });
    const failed = await fleet.waitFor("roomy-0", "failed");
    expect(failed).toMatchObject({ reason: "DiskFull" });
    await fleet.remove("roomy");
    expect(fleet.tracesOf(failed.id)).toEqual([]);
  });

  test("one that may be retried waits and says why, and runs by itself when there is room", async () => {
    await fleet.create("patient", {
      image: "busybox",
      command: ["sleep", "100000"],
      resources,
      restart: { policy: "on-failure", backoffMs: 200, maxRestarts: 1_000 },
    });
    const waiting = await fleet.waitFor("patient-0", "backoff");
    expect(waiting).toMatchObject({ reason: "DiskFull" });
    rmSync(ballast());
    await fleet.waitFor("patient-0", "running", 60_000);
    expect(fleet.isAlive(await fleet.pidOf("patient-0"))).toBe(true);
  });

  test("with room again the next start works, and the failed one starts when asked", async () => {
    await fleet.run("next", { image: "busybox", command: ["sleep", "100000"], resources, restart });
    await fleet.act("late-0", "start", "running");
    const ids = await Promise.all(
      ["late-0", "next-0", "patient-0"].map(async (name) => (await fleet.instance(name)).id),
    );
    await Promise.all(["late", "next", "patient"].map((name) => fleet.remove(name)));
    expect(ids.flatMap((id) => fleet.tracesOf(id))).toEqual([]);
  });

  test("an instance that fills the disk is told so; its neighbour and the agent go on, and it can be removed", async () => {
    const pid = await fleet.pidOf("steady-0");
    await fleet.run("greedy", {
      image: "busybox",
      command: ["sh", "-c", "dd if=/dev/zero of=/fill bs=64k; echo ended with $?; exec sleep 100000"],
      resources: { ...resources, memoryBytes: 64 * 1024 * 1024 },
    });
    await fleet.until(
      async () => (await fleet.exec("greedy-0", ["dd", "if=/dev/zero", "of=/more", "bs=1"])).exitCode === 1,
      "its writes were refused",
      30_000,
    );
    expect((await fleet.instance("greedy-0")).state).toBe("running");
    expect(await fleet.exec("steady-0", ["true"])).toMatchObject({ exitCode: 0 });
    expect(await fleet.pidOf("steady-0")).toBe(pid);
    const { id } = await fleet.instance("greedy-0");
    await fleet.remove("greedy");
    expect(fleet.tracesOf(id)).toEqual([]);
    await fleet.run("after", { image: "busybox", command: ["sleep", "100000"], resources });
  });
});
