import { mkdirSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { guestInitramfs, type GuestProgram } from "./guest-initramfs.ts";
import { labKernel, type LabKernel } from "./kernel.ts";
import { Lab } from "./lab.ts";

const monitor = resolve(import.meta.dirname, "../../native/kvm/build/bulkhead-vmm");

/** QEMU's software SVM loses extended processor state between guest and host: kernels that use xsave cannot return from signals. */
const commandLine = "console=ttyS0 quiet panic=-1 noxsave";

describe("the monitor on hardware KVM", () => {
  let lab: Lab;
  let kernel: LabKernel;
  // /tmp of a lab host is its own; the checkout is not.
  const shared = join(resolve(import.meta.dirname, "../../node_modules/.cache"), `bulkhead-microvm-${process.pid}`);
  beforeAll(async () => {
    mkdirSync(shared, { recursive: true });
    kernel = await labKernel();
    lab = await Lab.boot();
  });
  afterAll(async () => {
    await lab[Symbol.asyncDispose]();
    rmSync(shared, { recursive: true, force: true });
  });

  /** What the guest says on its serial port; it has to switch its machine off by itself. */
  const runGuest = async (program: GuestProgram, options: readonly string[] = []): Promise<string> => {
    const files = ["--kernel", kernel.image, "--initramfs", guestInitramfs(shared, kernel, program)];
    const { code, stdout, stderr } = await lab.run(
      [monitor, ...files, "--memory-mib", "256", "--command-line", commandLine, ...options],
      { timeoutMs: 110_000 },
    );
    expect(JSON.parse(stderr)).toMatchObject({ outcome: "powered-off" });
    expect(code).toBe(0);
    return stdout.replaceAll("\r", "");
  };

  test("finds that it runs unmodified kernels", async () => {
    const { code, stdout, stderr } = await lab.run([monitor, "--self-test"], { timeoutMs: 60_000 });
    expect([code, stderr]).toEqual([0, ""]);
    expect(JSON.parse(stdout)).toMatchObject({ level: "kvm", reason: "ok", virtualization: true });
  });

  test.each([1, 2])(
    "boots Debian's kernel on %i processors to a program in its initramfs, and ends with it",
    async (cpus) => {
      const script = `echo "kernel $(uname -r)"
echo "cpus $(grep -c ^processor /proc/cpuinfo)"
echo "line $(cat /proc/cmdline)"`;
      const said = await runGuest({ name: "hello", script }, ["--cpus", String(cpus)]);
      expect(said).toContain(`kernel ${kernel.release}\ncpus ${cpus}\nline ${commandLine}\n`);
    },
  );

  test("gives Linux a console and randomness through virtio", async () => {
    const said = await runGuest(
      {
        name: "console",
        modules: ["virtio_mmio", "virtio_console", "virtio_rng"],
        script: `echo "source $(cat /sys/class/misc/hw_random/rng_current)"
echo "bytes $(dd if=/dev/hwrng bs=64 count=4 2>/dev/null | wc -c)"
echo "through the console" > /dev/hvc0`,
      },
      ["--device", "console,out=fd:1", "--device", "entropy"],
    );
    expect(said).toContain("source virtio_rng.0\nbytes 256\n");
    expect(said).toContain("through the console\n");
  });
});
