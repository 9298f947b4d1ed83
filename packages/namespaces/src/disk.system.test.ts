import { existsSync, readFileSync, statfsSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { Assignment, Digest } from "@bulkhead/contracts";
import { busyboxImage } from "@bulkhead/testkit/images";
import { Rig } from "./testing/rig.ts";

const mebibyte = 2 ** 20;
const diskBytes = 24 * mebibyte;
let rig: Rig;
let busybox: Digest;

beforeAll(async () => {
  rig = await Rig.open();
  busybox = await rig.image(await busyboxImage());
});
afterEach(async () => {
  await rig.clear();
  await rig.refuseLeaks();
});
afterAll(() => rig[Symbol.asyncDispose]());

const limited = (script: string): Assignment =>
  rig.assignment(busybox, { command: ["sh", "-c", script], resources: { diskBytes } });

test("an instance that fills its disk hears so, and nobody else does", async () => {
  const neighbour = await rig.start(
    limited("until [ -e /go ]; do sleep 0.1; done; echo fine > /x && echo written; exec sleep 1000"),
  );
  const before = statfsSync(rig.root);
  const full = await rig.start(
    limited(
      "dd if=/dev/zero of=/big bs=1M count=64 2>&1 | grep -o 'No space left'; ls -l /big | awk '{print $5}'; exec sleep 1000",
    ),
  );
  await expect.poll(() => rig.output(full), { timeout: 30_000 }).toMatch(/^No space left\n\d+\n$/);
  const written = Number((await rig.output(full)).split("\n")[1]);
  expect(written).toBeGreaterThan(diskBytes / 2);
  expect(written).toBeLessThan(diskBytes);
  const { diskUsedBytes = 0, diskLimitBytes = 0 } = full.usage();
  expect(diskLimitBytes).toBeLessThanOrEqual(diskBytes);
  expect(diskUsedBytes / diskLimitBytes).toBeGreaterThan(0.9);
  expect(neighbour.usage().diskUsedBytes ?? 0).toBeLessThan(diskBytes / 2);
  expect(full.checkContract()).toEqual({ held: true, violations: [] });
  // The host has what the limit leaves it.
  expect(statfsSync(rig.root).bavail).toBeGreaterThan(before.bavail - (2 * diskBytes) / before.bsize);
  const session = await neighbour.exec({ command: ["touch", "/go"], tty: false });
  await session.ended;
  await expect.poll(() => rig.output(neighbour), { timeout: 20_000 }).toBe("written\n");
});

test("what was written is there at the next start, under another agent too", async () => {
  const assignment = limited("cat /kept 2>/dev/null; echo kept > /kept; chown 5:5 /kept");
  const first = await rig.start(assignment);
  await first.ended;
  await first.release();
  await rig.reopen();
  await rig.runtime.list();
  const again = await rig.start(assignment, 1);
  await again.ended;
  await expect.poll(() => rig.output(again)).toContain("kept\n");
  await again.release();
});

test("without a limit there is no disk of its own, and none in the usage", async () => {
  const run = await rig.start(rig.assignment(busybox, { command: ["sleep", "1000"] }));
  expect(run.usage()).not.toHaveProperty("diskUsedBytes");
  expect(existsSync(join(rig.paths.runDisks, run.key.instanceId))).toBe(false);
});

test("a root that is larger than promised breaks the contract", async () => {
  const run = await rig.start(limited("exec sleep 1000"));
  Object.assign(run.assignment.spec.resources, { diskBytes: 16 * mebibyte });
  expect(run.checkContract().violations).toMatchObject([
    expect.stringMatching(/^its root has room for \d+ bytes, promised/),
  ]);
  Object.assign(run.assignment.spec.resources, { diskBytes });
});

test("a start that fails, and an agent that was killed, leave no disk mounted", async () => {
  const lost = { ...limited("true"), spec: { ...limited("true").spec, command: ["/no/such/program"] } };
  await expect(rig.start(lost)).rejects.toMatchObject({ reason: "EntrypointNotFound" });
  expect(existsSync(join(rig.paths.runDisks, lost.instanceId))).toBe(false);
  // As one leaves that was killed between the directory's removal and the disk's.
  const orphan = limited("true");
  await rig.start(orphan).then((run) => run.ended.then(() => run.release()));
  expect(readFileSync("/proc/self/mountinfo", "utf8")).toContain(`disks/${orphan.instanceId}/`);
  await rig.runtime.disks.closeAbsent((instanceId) => instanceId !== orphan.instanceId);
  expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(`disks/${orphan.instanceId}/`);
});
