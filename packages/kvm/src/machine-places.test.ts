import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtempDisposable, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { Assignment, WorkloadSpec } from "@bulkhead/contracts";
import { instanceMachine, placesOf, placeViolations, repairPins } from "./machine-places.ts";

const gibibyte = 2 ** 30;

/** A directory like /proc with one monitor, of process 7. */
const procOf = async (lockedKb: number, threads: Readonly<Record<string, string>>) => {
  const directory = await mkdtempDisposable("/tmp/bulkhead-places-");
  const process = join(directory.path, "7");
  for (const [index, [name, cpus]] of Object.entries(threads).entries()) {
    const task = join(process, "task", String(7 + index));
    await mkdir(task, { recursive: true });
    await writeFile(join(task, "status"), `Name:\t${name}\nCpus_allowed_list:\t${cpus}\n`);
  }
  await writeFile(join(process, "status"), `Name:\tbulkhead-vmm\nVmLck:\t   ${lockedKb} kB\n`);
  return directory;
};

const assignmentOf = (changes: Partial<WorkloadSpec>): Assignment => {
  const resources = { cpuMillis: 2000, cpuPolicy: "dedicated", memoryBytes: gibibyte } as const;
  return { spec: { image: "x", resources, ...changes }, cpuIds: [2, 5, 6] } as unknown as Assignment;
};

test("each processor has the CPU of its number, and what is locked is the guest's memory", () => {
  const assignment = assignmentOf({ vm: { memoryPolicy: "locked" } });
  expect(placesOf(assignment, { holdsPlaces: true })).toEqual({ pinned: [2, 5], lockedBytes: gibibyte });
});

test("nothing is promised of a shared machine, nor of an engine that holds no places", () => {
  const shared = assignmentOf({ resources: { cpuMillis: 2000, memoryBytes: gibibyte } });
  expect(placesOf(shared, { holdsPlaces: true })).toEqual({ pinned: [], lockedBytes: 0 });
  expect(placesOf(assignmentOf({}), { holdsPlaces: false })).toEqual({ pinned: [], lockedBytes: 0 });
});

test("an instance says what runs it, and whether its processors have CPUs of their own", () => {
  const assignment = assignmentOf({ vm: { memoryPolicy: "locked" } });
  const said = { kernel: "6.1.0", cpus: 2, cpuIds: [2, 5, 6], memoryPolicy: "locked", hugepages: false };
  const kvm = { name: "kvm", holdsPlaces: true } as const;
  expect(instanceMachine(assignment, kvm, "6.1.0")).toEqual({ engine: "kvm", pinned: true, ...said });
  const qemu = { name: "qemu", holdsPlaces: false } as const;
  expect(instanceMachine(assignment, qemu, "6.1.0")).toEqual({ engine: "qemu", pinned: false, ...said });
});

const promised = { pinned: [2, 5], lockedBytes: gibibyte };

test("a machine whose places are what was promised violates nothing", async () => {
  await using proc = await procOf(2 * 2 ** 20, { "bulkhead-vmm": "2,5-6", "vcpu 0": "2", "vcpu 1": "5" });
  expect(placeViolations(7, promised, proc.path)).toEqual([]);
});

test("a processor elsewhere, one without a thread and memory that may be swapped are each told", async () => {
  await using proc = await procOf(8192, { "bulkhead-vmm": "2,5-6", "vcpu 0": "2,5-6" });
  expect(placeViolations(7, promised, proc.path)).toEqual([
    "its processor 0 may run on CPU 2,5,6, promised 2",
    "its processor 1 has no thread",
    `${8192 * 1024} bytes of its memory are locked, promised ${gibibyte}`,
  ]);
});

test("a monitor that has ended breaks no promise", async () => {
  await using proc = await procOf(0, { "vcpu 0": "0" });
  await rm(join(proc.path, "7"), { recursive: true });
  expect(placeViolations(7, promised, proc.path)).toEqual([]);
});

/** A process whose one thread has a name, as a processor of a machine has. */
const threadNamed = async (name: string) => {
  const directory = await mkdtempDisposable("/tmp/bulkhead-thread-");
  await symlink("/bin/sleep", join(directory.path, name));
  const child = spawn(join(directory.path, name), ["1000"], { stdio: "ignore" });
  await once(child, "spawn");
  return {
    pid: child.pid ?? 0,
    async [Symbol.asyncDispose](): Promise<void> {
      const ended = once(child, "exit");
      child.kill("SIGKILL");
      await ended;
      await directory.remove();
    },
  };
};

test("a processor that may run elsewhere is put back on its CPU", async () => {
  await using thread = await threadNamed("vcpu 0");
  const places = { pinned: [0], lockedBytes: 0 };
  expect(placeViolations(thread.pid, places)).toEqual([expect.stringMatching(/^its processor 0 may run on CPU 0,1/)]);
  expect(repairPins(thread.pid, places)).toEqual([]);
  expect(placeViolations(thread.pid, places)).toEqual([]);
});

test("one whose CPU is not there stays where it is, and the reason is told", async () => {
  await using thread = await threadNamed("vcpu 0");
  const places = { pinned: [8000], lockedBytes: 0 };
  const elsewhere = placeViolations(thread.pid, places);
  expect(elsewhere).toHaveLength(1);
  expect(repairPins(thread.pid, places)).toEqual(["its processor 0 cannot be put back on CPU 8000: EINVAL"]);
  expect(placeViolations(thread.pid, places)).toEqual(elsewhere);
});

test("a machine that has ended is not repaired", async () => {
  const thread = await threadNamed("vcpu 0");
  await thread[Symbol.asyncDispose]();
  expect(repairPins(thread.pid, { pinned: [0] })).toEqual([]);
});
