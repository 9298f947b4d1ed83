// Kernel threads in an instance's cgroup when it is frozen, on directories that look like one: nobody can put one there.
import { mkdirSync, mkdtempDisposableSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { freeze } from "./index.ts";

/** PF_KTHREAD of the kernel's include/linux/sched.h */
const ofKernel = 0x0020_0000;

/** A thread of the kernel; none where this process sees none. */
const kernelThread = readdirSync("/proc").find((pid) => {
  try {
    const [, , , , , , flags] = readFileSync(`/proc/${pid}/stat`, "utf8")
      .replace(/^.*\) /s, "")
      .split(" ");
    return /^[0-9]+$/.test(pid) && (Number(flags) & ofKernel) !== 0;
  } catch {
    return false;
  }
});

/** A hierarchy's root, and in it a cgroup with this process and a thread of the kernel, which is frozen already. */
const stage = () => {
  const root = mkdtempDisposableSync("/tmp/bulkhead-kernel-threads-");
  const cgroup = join(root.path, "instance");
  mkdirSync(cgroup);
  writeFileSync(join(cgroup, "cgroup.procs"), `${process.pid}\n${kernelThread}\n`);
  writeFileSync(join(cgroup, "cgroup.events"), "populated 1\nfrozen 1\n");
  writeFileSync(join(cgroup, "cgroup.freeze"), "0");
  return { root, cgroup, freeze: () => freeze({ paths: { unified: cgroup } }, 50) };
};

test.runIf(kernelThread !== undefined)("what works for the kernel leaves, and nobody else", async () => {
  const at = stage();
  using _root = at.root;
  writeFileSync(join(at.root.path, "cgroup.procs"), "");
  await at.freeze();
  expect(readFileSync(join(at.root.path, "cgroup.procs"), "utf8").trim()).toBe(kernelThread);
  expect(readFileSync(join(at.cgroup, "cgroup.freeze"), "utf8")).toBe("1");
});

test.runIf(kernelThread !== undefined)(
  "one that does not move is left, and the instance frozen all the same",
  async () => {
    const at = stage();
    using _root = at.root;
    // Writing to it fails, whoever writes.
    mkdirSync(join(at.root.path, "cgroup.procs"));
    await at.freeze();
    expect(readFileSync(join(at.cgroup, "cgroup.freeze"), "utf8")).toBe("1");
  },
);
