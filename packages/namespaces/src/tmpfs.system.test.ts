// Directories in memory of one instance's own.
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { Digest, TemporaryDirectory } from "@bulkhead/contracts";
import { busyboxImage } from "@bulkhead/testkit/images";
import { Rig } from "./testing/rig.ts";

const mib = 2 ** 20;

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

const shell = (script: string, tmpfs: TemporaryDirectory[], changes: Parameters<Rig["assignment"]>[1] = {}) =>
  rig.assignment(busybox, { command: ["sh", "-c", script], tmpfs, ...changes });
const reasonOf = (tmpfs: TemporaryDirectory[]): Promise<string> =>
  rig.start(shell("true", tmpfs)).then(
    () => "started",
    ({ reason }: { reason: string }) => reason,
  );

test("it holds what its size says and no more, runs nothing, and whoever the program is may write", async () => {
  const { output } = await rig.run(
    shell(
      [
        "dd if=/dev/zero of=/cache/big bs=64k count=64 2>/dev/null || stat -c %s /cache/big",
        "rm /cache/big; cp /bin/busybox /cache/sh; /cache/sh true 2>&1",
        "cp /bin/busybox /tools/true; /tools/true && echo runs",
        "stat -c %a /cache /tools",
      ].join("; "),
      [
        { path: "/cache", sizeBytes: 3 * mib },
        { path: "/tools", sizeBytes: 4 * mib, mode: "0777", executable: true },
      ],
      { user: "1000:1000" },
    ),
  );
  expect(output).toMatch(/^3145728\nsh: \/cache\/sh: Permission denied\nruns\n1777\n777\n$/);
});

test("nothing of it stays for the next run, and no other instance sees it", async () => {
  const tmpfs = [{ path: "/cache", sizeBytes: mib }];
  const first = await rig.start(shell("ls /cache; echo x > /cache/file; echo written; exec sleep 1000", tmpfs));
  await expect.poll(() => rig.output(first), { timeout: 30_000 }).toBe("written\n");
  expect((await rig.run(shell("ls /cache", tmpfs))).output).toBe("");
  await first.stop(0);
  await first.release();
  const again = await rig.start(first.assignment, 1);
  await expect.poll(() => rig.output(again), { timeout: 30_000 }).toMatch(/^written\nwritten\n$|^written\n$/);
});

test("what it holds counts to the instance's memory: more than that ends it", async () => {
  const { reason } = await rig.run(
    shell("dd if=/dev/zero of=/cache/big bs=1M count=64", [{ path: "/cache", sizeBytes: 64 * mib }], {
      resources: { memoryBytes: 16 * mib },
    }),
  );
  expect(reason).toBe("OomKilled");
});

test("it may stand in for shared memory, in the size that a program needs", async () => {
  const script = "df -k /dev/shm | tail -n 1 | awk '{ print $2 }'; mount | grep -c ' /dev/shm '";
  const { output } = await rig.run(shell(script, [{ path: "/dev/shm", sizeBytes: 256 * mib }]));
  expect(output).toBe("262144\n1\n");
});

test("a read-only root stays so beside it, also where the image has no such directory", async () => {
  const script = "echo x > /cache/file && cat /cache/file; echo x > /other 2>&1";
  const { output } = await rig.run(
    shell(
      script,
      [
        { path: "/cache", sizeBytes: mib },
        { path: "/cache/deep", sizeBytes: mib },
      ],
      {
        container: { readOnlyRoot: true },
      },
    ),
  );
  expect(output).toMatch(/^x\n.*Read-only file system\n$/);
});

test("no place over the kernel's files, none that climbs, none wanted twice", async () => {
  for (const path of ["/proc", "/proc/x", "/sys", "/dev", "/dev/pts", "/", "/a/../b"]) {
    expect({ path, reason: await reasonOf([{ path, sizeBytes: mib }]) }).toEqual({ path, reason: "MountNotAllowed" });
  }
  const twice = [
    { path: "/a", sizeBytes: mib },
    { path: "/a/", sizeBytes: mib },
  ];
  expect(await reasonOf(twice)).toBe("MountFailed");
});
