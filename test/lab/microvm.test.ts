import { execFileSync } from "node:child_process";
import { chmodSync, copyFileSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { labKernel } from "./kernel.ts";
import { Lab } from "./lab.ts";

const monitor = resolve(import.meta.dirname, "../../native/kvm/build/bulkhead-vmm");

/** QEMU's software SVM loses extended processor state between guest and host: kernels that use xsave cannot return from signals. */
const withoutXsave = "noxsave";

/** Says what it sees, and switches its machine off as a program in user space does. */
const init = `#!/bin/busybox sh
busybox mkdir -p /proc
busybox mount -t proc proc /proc
echo "kernel $(busybox uname -r)"
echo "cpus $(busybox grep -c ^processor /proc/cpuinfo)"
echo "line $(busybox cat /proc/cmdline)"
echo "memory $(busybox awk '/MemTotal/ { print int($2 / 1024) }' /proc/meminfo)"
busybox poweroff -f
`;

/** A "newc" archive of BusyBox and `init`; the lab has no cpio. */
const initramfs = (directory: string): string => {
  const root = join(directory, "root");
  mkdirSync(join(root, "bin"), { recursive: true });
  mkdirSync(join(root, "dev"));
  copyFileSync("/bin/busybox", join(root, "bin/busybox"));
  execFileSync("mknod", [join(root, "dev/console"), "c", "5", "1"]);
  writeFileSync(join(root, "init"), init);
  chmodSync(join(root, "init"), 0o755);
  const archive = join(directory, "initramfs");
  execFileSync("sh", ["-c", `cd ${root} && find . | busybox cpio -o -H newc > ${archive}`], { stdio: "pipe" });
  return archive;
};

describe("the monitor on hardware KVM", () => {
  let lab: Lab;
  const shared = join(resolve(import.meta.dirname, "../../node_modules/.cache"), `bulkhead-microvm-${process.pid}`);
  beforeAll(async () => {
    // /tmp of a lab host is its own; the checkout is not.
    mkdirSync(shared, { recursive: true });
    initramfs(shared);
    lab = await Lab.boot();
  });
  afterAll(async () => {
    await lab[Symbol.asyncDispose]();
    rmSync(shared, { recursive: true, force: true });
  });

  test("finds that it runs unmodified kernels", async () => {
    const { code, stdout, stderr } = await lab.run([monitor, "--self-test"], { timeoutMs: 60_000 });
    expect([code, stderr]).toEqual([0, ""]);
    expect(JSON.parse(stdout)).toMatchObject({ level: "kvm", reason: "ok", virtualization: true });
  });

  test.each([1, 2])(
    "boots Debian's kernel on %i processors to a program in its initramfs, and ends with it",
    async (cpus) => {
      const { image, release } = await labKernel();
      const line = `console=ttyS0 quiet panic=-1 ${withoutXsave}`;
      const files = ["--kernel", image, "--initramfs", join(shared, "initramfs")];
      const size = ["--cpus", String(cpus), "--memory-mib", "256"];
      const { code, stdout, stderr } = await lab.run([monitor, ...files, ...size, "--command-line", line], {
        timeoutMs: 110_000,
      });
      expect(stdout.replaceAll("\r", "")).toContain(`kernel ${release}\ncpus ${cpus}\nline ${line}\n`);
      expect(JSON.parse(stderr)).toMatchObject({ outcome: "powered-off" });
      expect(code).toBe(0);
    },
  );
});
