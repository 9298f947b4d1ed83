import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtempDisposable, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { monitorPath } from "@bulkhead/native-kvm";
import { expect, test } from "vitest";
import { machineView } from "./machine-view.ts";
import { askMonitor } from "./monitor-channels.ts";

/** An ELF kernel of one segment at 1 MiB, entered at its first byte (elf(5)). */
const kernelOf = (code: readonly number[]): Buffer => {
  const image = Buffer.alloc(120 + code.length);
  image.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  image.writeUInt16LE(2, 16);
  image.writeUInt16LE(62, 18);
  image.writeUInt32LE(1, 20);
  image.writeUInt32LE(0x100000, 24);
  image.writeUInt32LE(64, 32);
  image.writeUInt16LE(64, 52);
  image.writeUInt16LE(56, 54);
  image.writeUInt16LE(1, 56);
  image.writeUInt32LE(1, 64);
  image.writeUInt32LE(120, 72);
  image.writeUInt32LE(0x100000, 88);
  image.writeUInt32LE(code.length, 96);
  image.writeUInt32LE(code.length, 104);
  image.set(code, 120);
  return image;
};

test.skipIf(!existsSync("/dev/kvm"))("what a running monitor of ours counts is a machine's view", async () => {
  await using directory = await mkdtempDisposable("/tmp/bulkhead-monitor-");
  const kernel = join(directory.path, "kernel");
  // 1: out %al, $0x80; jmp 1b
  await writeFile(kernel, kernelOf([0xe6, 0x80, 0xeb, 0xfc]));
  const words = ["--kernel", kernel, "--memory-mib", "2", "--cpus", "2", "--device", "entropy", "--control", "control"];
  const monitor = spawn(monitorPath, words, { cwd: directory.path, stdio: "ignore" });
  const ended = once(monitor, "exit");
  try {
    const control = join(directory.path, "control");
    await expect.poll(() => existsSync(control), { timeout: 30_000 }).toBe(true);
    const usesOf = async (name: string) => {
      const told = await askMonitor(directory.path);
      return told.channels.find((channel) => channel.name === name)?.uses ?? 0;
    };
    await expect.poll(() => usesOf("progress"), { timeout: 30_000 }).toBeGreaterThan(0);
    const view = await machineView("kvm", monitor.pid ?? 0, await askMonitor(directory.path));
    expect(view.exits?.portWrites).toBeGreaterThan(0);
    expect(view.channels).toContainEqual({
      kind: "registers",
      name: "entropy 0",
      at: "0xc0001000-0xc0001fff",
      queues: 1,
      uses: 0,
    });
    expect(view.channels.filter(({ kind }) => kind === "hypercall")).toHaveLength(1);
    const processors = view.threads.find(({ kind }) => kind === "processor");
    expect(processors).toMatchObject({ count: 2, calls: expect.arrayContaining(["ioctl"]) });
    expect(processors?.calls).not.toContain("openat");
    expect(view.files).toContainEqual(expect.objectContaining({ target: "anon_inode:kvm-vm" }));
    expect(view.systemCalls.writes).toBeGreaterThanOrEqual(0);
  } finally {
    monitor.kill("SIGKILL");
    await ended;
  }
  await expect(askMonitor(directory.path)).rejects.toMatchObject({ code: "RUNTIME_FAILED" });
});
