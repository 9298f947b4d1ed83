import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, open, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Digest } from "@bulkhead/contracts";
import { busyboxImage } from "@bulkhead/testkit/images";
import { Rig } from "./testing/rig.ts";

let root: string;
let disk: string;
let rig: Rig;
let busybox: Digest;

beforeAll(async () => {
  root = await mkdtemp("/tmp/bulkhead-disk-");
  disk = join(root, "host");
  await mkdir(disk);
  // Not a tmpfs: before Linux 6.3 an image's layers cannot be id-mapped there.
  const image = join(root, "image");
  await writeFile(image, "");
  await truncate(image, 48 * 2 ** 20);
  execFileSync("mkfs.ext4", ["-q", image]);
  execFileSync("mount", ["-o", "loop", image, disk]);
  rig = await Rig.open({ parent: disk });
  busybox = await rig.image(await busyboxImage());
  await rig.ensured(busybox);
});
afterAll(async () => {
  await rig[Symbol.asyncDispose]();
  execFileSync("umount", [disk]);
  await rm(root, { recursive: true });
});

/** Writes until the disk takes no more, and answers the file that holds its last byte. */
const fill = async (): Promise<string> => {
  const path = join(disk, "full");
  const file = await open(path, "w");
  for (let bytes = 2 ** 20; bytes >= 1;) {
    const { bytesWritten } = await file.write(Buffer.alloc(bytes)).catch(() => ({ bytesWritten: 0 }));
    if (bytesWritten < bytes) bytes = Math.floor(bytes / 2);
  }
  await file.close();
  return path;
};

test("a full disk is the reason of a failed start, which leaves nothing; with room it works again", async () => {
  const assignment = rig.assignment(busybox, { command: ["sh", "-c", "echo fits"] });
  const full = await fill();
  await expect(rig.start(assignment)).rejects.toMatchObject({ name: "StartFailure", reason: "DiskFull" });
  expect(await rig.runtime.list()).toEqual([]);
  await rm(full);
  await rig.runtime.settled();
  await rig.refuseLeaks();
  expect(await rig.run(assignment)).toMatchObject({ output: "fits\n", exitCode: 0 });
});

test("a disk that fills up while an instance runs costs its log, not its life and not its exit code", async () => {
  const run = await rig.start(
    rig.assignment(busybox, {
      command: ["sh", "-c", "trap 'exit 4' TERM; while true; do echo line; sleep 0.01; done"],
    }),
  );
  const full = await fill();
  const cpu = run.usage().cpuUsageNs;
  await expect.poll(() => run.usage().cpuUsageNs, { timeout: 30_000 }).toBeGreaterThan(cpu + 20_000_000);
  await run.stop(5_000);
  expect(await run.ended).toMatchObject({ reason: "StoppedByUser", exit: { exitCode: 4 } });
  await rm(full);
  await rig.clear();
  await rig.refuseLeaks();
});
