import { mkdirSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { guestInitramfs, type GuestProgram } from "./guest-initramfs.ts";
import { labKernel, type LabKernel } from "./kernel.ts";
import { Lab } from "./lab.ts";
import { everything, trials } from "./microvm-trials.ts";

const monitor = resolve(import.meta.dirname, "../../native/kvm/build/bulkhead-vmm");

/**
 * QEMU 7.2's software SVM hands a guest one interrupt twice, the second while it takes none, in about one boot of a
 * hundred: the guest then waits for itself for ever. So `npm test` tries all devices in one boot; `npm run test:lab` each
 * in a boot of its own.
 */
const together = process.env["BULKHEAD_LAB_WHOLE"] === undefined;

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
    // With one processor nothing interrupts twice (README.md).
    lab = await Lab.boot({ coresPerSocket: 1, modprobe: ["kvm_amd", "tun"] });
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
      { timeoutMs: 220_000 },
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

  test.each(together ? [2] : [1, 2])(
    "boots Debian's kernel on %i processors to a program in its initramfs, and ends with it",
    async (cpus) => {
      const script = `echo "kernel $(uname -r)"
echo "cpus $(grep -c ^processor /proc/cpuinfo)"
echo "line $(cat /proc/cmdline)"
echo "complaints $(dmesg | grep -cE 'ACPI.*(Error|Warning|Exception)|Firmware Bug')"`;
      const said = await runGuest({ name: "hello", script }, ["--cpus", String(cpus)]);
      expect(said).toContain(`kernel ${kernel.release}\ncpus ${cpus}\nline ${commandLine}\ncomplaints 0\n`);
    },
  );

  test.each(together ? [everything] : trials)("$what", { timeout: 240_000 }, async (trial) => {
    for (const command of trial.prepared ?? []) {
      expect(await lab.run(command, { timeoutMs: 30_000 })).toMatchObject({ code: 0 });
    }
    const said = await runGuest(trial, trial.devices);
    for (const expected of trial.says) expect(said).toContain(expected);
    for (const { command, stdout } of trial.leaves ?? []) {
      expect(await lab.run(command, { timeoutMs: 30_000 })).toMatchObject({ code: 0, stdout });
    }
  });

  test("takes a machine to files, from which copies of it count on, on a clock that knows no gap", async () => {
    const program = {
      name: "counting",
      modules: ["virtio_mmio", "virtio_rng"],
      // The generic event device and the generation id are where ACPI says; randomness needs the queue and its interrupt.
      script: `echo "described $(cat /sys/bus/acpi/devices/*/hid | grep -cE 'ACPI0013|VMGENCTR')"
n=0
while :; do
  n=$((n + 1))
  echo "count $n at $(cut -d ' ' -f 1 /proc/uptime) with $(dd if=/dev/hwrng bs=8 count=1 2>/dev/null | wc -c)"
  usleep 100000
done`,
    };
    const start = (name: string, words: readonly string[]): Promise<unknown> => {
      const own = ["--serial", `/tmp/${name}.said`, "--control", `/tmp/${name}.control`, "--device", "entropy"];
      const line = [monitor, ...words, ...own].map((word) => `'${word}'`).join(" ");
      return lab.run(`: > /tmp/${name}.said; (setsid ${line} < /dev/null > /dev/null 2>&1 &)`, { timeoutMs: 30_000 });
    };
    const saves = ["save", "--new-file", "/tmp/state", "--new-file", "/tmp/memory", "--memory-mib", "256"];
    const ask = (name: string, request: readonly string[]) =>
      lab.run([monitor, "--ask", `/tmp/${name}.control`, "--request", ...request], { timeoutMs: 60_000 });
    /** What it has said once there are so many whole lines of counts. */
    const hear = async (name: string, atLeast: number): Promise<string> => {
      const until = `until [ $(grep -c '^count .* with 8' /tmp/${name}.said) -ge ${atLeast} ]; do sleep 0.2; done`;
      const { stdout } = await lab.run(`${until}; cat /tmp/${name}.said`, { timeoutMs: 110_000 });
      return stdout;
    };
    /** Number, and seconds since the boot, of each. */
    const countsIn = (said: string): number[][] =>
      [...said.matchAll(/^count (\d+) at ([\d.]+) with 8\r?$/gm)].map((found) => found.slice(1).map(Number));
    const boot = ["--kernel", kernel.image, "--initramfs", guestInitramfs(shared, kernel, program)];
    await start("original", [...boot, "--memory-mib", "256", "--command-line", commandLine]);
    expect(await hear("original", 3)).toContain("described 2");
    const taken = await ask("original", saves);
    expect(taken).toMatchObject({ code: 0, stderr: "" });
    expect(JSON.parse(taken.stdout)).toMatchObject({ memoryBytes: 256 * 2 ** 20, lacking: [] });
    const before = countsIn(await hear("original", 3));
    expect(await ask("original", ["stop"])).toMatchObject({ code: 0 });

    for (const name of ["one", "other"]) {
      await start(name, ["--restore", "/tmp/state", "--memory", "/tmp/memory"]);
      const [first, ...rest] = countsIn(await hear(name, 4));
      const last = before.find(([number]) => number === (first?.[0] ?? 0) - 1);
      // The count goes on, and so does the guest's clock, whatever time went by until there was a copy.
      expect({ before, first, last }).toMatchObject({ last: expect.any(Array) });
      expect((first?.[1] ?? 0) - (last?.[1] ?? 0)).toBeLessThan(5);
      expect(rest.map(([number]) => number)).toEqual(rest.map((_, index) => (first?.[0] ?? 0) + 1 + index));
      expect(await ask(name, ["stop"])).toMatchObject({ code: 0 });
    }
    // Files are made, never replaced: a copy may be using them.
    await start("third", ["--restore", "/tmp/state", "--memory", "/tmp/memory"]);
    await hear("third", 1);
    const again = await ask("third", saves);
    expect([again.code, JSON.parse(again.stderr)]).toEqual([1, expect.objectContaining({ errno: "EEXIST" })]);
    expect(await ask("third", ["stop"])).toMatchObject({ code: 0 });
  });
});
