import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { mkdir, mkdtempDisposable, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { Assignment, WorkloadSpec } from "@bulkhead/contracts";
import { instanceMachine, place, placesOf, placeViolations } from "./machine-places.ts";

const gibibyte = 2 ** 30;

type Threads = Readonly<Record<string, string>>;

/** A directory like /proc with one monitor, of process 7, and a process that serves it, 70. */
const procOf = async (lockedKb: number, threads: Threads, served: Threads = {}) => {
  const directory = await mkdtempDisposable("/tmp/bulkhead-places-");
  for (const [pid, of] of [
    [7, threads],
    [70, served],
  ] as const) {
    const process = join(directory.path, String(pid));
    for (const [index, [name, cpus]] of Object.entries(of).entries()) {
      const task = join(process, "task", String(pid + index));
      await mkdir(task, { recursive: true });
      await writeFile(join(task, "status"), `Name:\t${name}\nCpus_allowed_list:\t${cpus}\n`);
    }
    await mkdir(process, { recursive: true });
    await writeFile(join(process, "status"), `Name:\tbulkhead-vmm\nVmLck:\t   ${lockedKb} kB\n`);
  }
  return directory;
};

const machine = { pid: 7, processes: () => [7, 70] };

const assignmentOf = (changes: Partial<WorkloadSpec>): Assignment => {
  const resources = { cpuMillis: 2000, cpuPolicy: "dedicated", memoryBytes: gibibyte } as const;
  return { spec: { image: "x", resources, ...changes }, cpuIds: [2, 5, 6] } as unknown as Assignment;
};

test("each processor has the CPU of its number, the monitor what is left and shared, and what is locked is the guest's", () => {
  const assignment = assignmentOf({ vm: { memoryPolicy: "locked" } });
  const places = { pinned: [2, 5], others: [0, 6], lockedBytes: gibibyte };
  expect(placesOf(assignment, { holdsPlaces: true }, [0])).toEqual(places);
});

test("nothing is promised of a shared machine, nor of an engine that holds no places", () => {
  const shared = assignmentOf({ resources: { cpuMillis: 2000, memoryBytes: gibibyte } });
  const nothing = { pinned: [], others: [], lockedBytes: 0 };
  expect(placesOf(shared, { holdsPlaces: true }, [0])).toEqual(nothing);
  expect(placesOf(assignmentOf({}), { holdsPlaces: false }, [0])).toEqual(nothing);
});

test("an instance says what runs it, and whether its processors have CPUs of their own, and those for themselves", () => {
  const assignment = { ...assignmentOf({ vm: { memoryPolicy: "locked" } }), cpuIds: [2, 5] };
  const record = { assignment, kernel: "6.1.0" };
  const said = { kernel: "6.1.0", cpus: 2, cpuIds: [2, 5], memoryPolicy: "locked", hugepages: false };
  const kvm = { name: "kvm", holdsPlaces: true } as const;
  const pinned = { engine: "kvm", pinned: true, ...said };
  expect(instanceMachine(record, kvm, [0])).toEqual({ ...pinned, monitorApart: true });
  expect(instanceMachine(record, kvm, [])).toEqual({ ...pinned, monitorApart: false });
  const qemu = { name: "qemu", holdsPlaces: false } as const;
  expect(instanceMachine(record, qemu, [0])).toEqual({ engine: "qemu", pinned: false, ...said });
});

const promised = { pinned: [2, 5], others: [0, 6], lockedBytes: gibibyte };

test("a machine whose places are what was promised violates nothing", async () => {
  const threads = { "bulkhead-vmm": "0,6", "vcpu 0": "2", "vcpu 1": "5", "iou-wrk-7": "0-6" };
  await using proc = await procOf(2 * 2 ** 20, threads, { virtiofsd: "6" });
  expect(placeViolations(machine, promised, proc.path)).toEqual([]);
});

test("a processor elsewhere, one without a thread, others on its CPU and memory that may be swapped are each told", async () => {
  await using proc = await procOf(8192, { "bulkhead-vmm": "0,2", "vcpu 0": "2,5-6" }, { virtiofsd: "5" });
  expect(placeViolations(machine, promised, proc.path)).toEqual([
    "its processor 0 may run on CPU 2,5,6, promised 2",
    "its processor 1 has no thread",
    "its thread bulkhead-vmm may run on CPU 0,2, promised 0,6",
    "its thread virtiofsd may run on CPU 5, promised 0,6",
    `${8192 * 1024} bytes of its memory are locked, promised ${gibibyte}`,
  ]);
});

test("where the host has no other CPU, the monitor's threads are on those of its processors", async () => {
  await using proc = await procOf(2 * 2 ** 20, { "bulkhead-vmm": "2,5", "vcpu 0": "2", "vcpu 1": "5" });
  expect(placeViolations(machine, { ...promised, others: [] }, proc.path)).toEqual([]);
});

test("a monitor that has ended breaks no promise, and neither does one whose server just ended", async () => {
  await using proc = await procOf(2 * 2 ** 20, { "bulkhead-vmm": "0", "vcpu 0": "2", "vcpu 1": "5" });
  await rm(join(proc.path, "70"), { recursive: true });
  expect(placeViolations(machine, promised, proc.path)).toEqual([]);
  await rm(join(proc.path, "7"), { recursive: true });
  expect(placeViolations(machine, promised, proc.path)).toEqual([]);
  expect(placeViolations({ ...machine, pid: null }, promised, proc.path)).toEqual([]);
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

const alone = (pid: number) => ({ pid, processes: () => [pid] });
const on = (cpu: number) => ({ pinned: [cpu], others: [], lockedBytes: 0 });

test("a processor that may run elsewhere is put back on its CPU", async () => {
  await using thread = await threadNamed("vcpu 0");
  const seen = alone(thread.pid);
  expect(placeViolations(seen, on(0))).toEqual([expect.stringMatching(/^its processor 0 may run on CPU 0,1/)]);
  expect(place(seen, on(0))).toEqual([]);
  expect(placeViolations(seen, on(0))).toEqual([]);
});

test("another process is put where the monitor's threads belong", async () => {
  await using processor = await threadNamed("vcpu 0");
  await using server = await threadNamed("server");
  const seen = { pid: processor.pid, processes: () => [processor.pid, server.pid] };
  const places = { pinned: [0], others: [1], lockedBytes: 0 };
  expect(placeViolations(seen, places)).toHaveLength(2);
  expect(place(seen, places)).toEqual([]);
  expect(placeViolations(seen, places)).toEqual([]);
});

test("one whose CPU is not there stays where it is, and the reason is told", async () => {
  await using thread = await threadNamed("vcpu 0");
  const seen = alone(thread.pid);
  const elsewhere = placeViolations(seen, on(8000));
  expect(elsewhere).toHaveLength(1);
  expect(place(seen, on(8000))).toEqual(["its processor 0 cannot be put on CPU 8000: EINVAL"]);
  expect(placeViolations(seen, on(8000))).toEqual(elsewhere);
});

/** PF_NO_SETAFFINITY of the kernel's include/linux/sched.h: it says itself where it runs. */
const keepsItsPlace = 0x0400_0000;

/** A thread of the kernel that nobody can move to CPU 1; none where this process sees no threads of the kernel. */
const immovable = readdirSync("/proc")
  .filter((name) => /^[0-9]+$/.test(name))
  .map(Number)
  .find((pid) => {
    try {
      const [, , , , , , flags] = readFileSync(`/proc/${pid}/stat`, "utf8")
        .replace(/^.*\) /s, "")
        .split(" ");
      const isThere = /^Cpus_allowed_list:\s*1$/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
      return (Number(flags) & keepsItsPlace) !== 0 && !isThere;
    } catch {
      return false;
    }
  });

test.runIf(immovable !== undefined)(
  "a thread of the kernel that nobody can move is told, and the others are put",
  async () => {
    await using processor = await threadNamed("vcpu 0");
    await using server = await threadNamed("server");
    const kernels = immovable ?? 0;
    const seen = { pid: processor.pid, processes: () => [processor.pid, kernels, server.pid] };
    const places = { pinned: [0], others: [1], lockedBytes: 0 };
    expect(place(seen, places)).toEqual([expect.stringMatching(/^its thread .* cannot be put on CPU 1: EINVAL$/)]);
    const of = (pid: number) => placeViolations({ pid: processor.pid, processes: () => [processor.pid, pid] }, places);
    expect(of(server.pid)).toEqual([]);
  },
);

test("a machine that has ended is left alone", async () => {
  const thread = await threadNamed("vcpu 0");
  await thread[Symbol.asyncDispose]();
  expect(place(alone(thread.pid), on(0))).toEqual([]);
});
