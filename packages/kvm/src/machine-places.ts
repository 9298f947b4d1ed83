import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Assignment, InstanceMachine } from "@bulkhead/contracts";
import { parseCpuList } from "@bulkhead/host";
import { runOn } from "@bulkhead/native-kvm";
import type { JailedRun } from "@bulkhead/node";
import type { Engine } from "./engine/engine.ts";
import type { MachineRecord } from "./machine-record.ts";
import { cpusOf, memoryMibOf } from "./machine-size.ts";

const mebibyte = 2 ** 20;

/** Where a machine's processors, its monitor's other threads and its memory are to be, as far as that was promised. */
export interface MachinePlaces {
  /** the host's CPU of each of its processors; empty: wherever there is room */
  readonly pinned: readonly number[];
  /** CPUs of every other thread of its monitor and of what serves it; empty: those of its processors */
  readonly others: readonly number[];
  /** memory that is never swapped, in bytes */
  readonly lockedBytes: number;
}

/** What an assignment promises of a machine of this engine, on a host with these CPUs to share. */
export const placesOf = (
  { spec, cpuIds }: Assignment,
  engine: Pick<Engine, "holdsPlaces">,
  sharedCpus: readonly number[],
): MachinePlaces => {
  const { resources, vm } = spec;
  const cpus = cpusOf(resources);
  const pinned = engine.holdsPlaces && resources.cpuPolicy === "dedicated" ? cpuIds.slice(0, cpus) : [];
  const others = pinned.length === 0 ? [] : [...cpuIds.slice(cpus), ...sharedCpus].toSorted((a, b) => a - b);
  return { pinned, others, lockedBytes: vm?.memoryPolicy === "locked" ? memoryMibOf(resources) * mebibyte : 0 };
};

/** What a machine is told to be, of which its agent reports. */
export const instanceMachine = (
  { assignment, kernel }: Pick<MachineRecord, "assignment" | "kernel">,
  engine: Pick<Engine, "holdsPlaces" | "name">,
  sharedCpus: readonly number[],
): InstanceMachine => {
  const { resources, vm } = assignment.spec;
  const { pinned, others } = placesOf(assignment, engine, sharedCpus);
  return {
    engine: engine.name,
    kernel: kernel ?? null,
    cpus: cpusOf(resources),
    cpuIds: [...assignment.cpuIds],
    pinned: pinned.length > 0,
    ...(pinned.length === 0 ? {} : { monitorApart: others.length > 0 }),
    memoryPolicy: vm?.memoryPolicy ?? "normal",
    hugepages: vm?.hugepages ?? false,
  };
};

interface Thread {
  readonly tid: number;
  readonly name: string;
  readonly cpus: readonly number[];
}

const field = (status: string, name: string): string =>
  new RegExp(`^${name}:[ \\t]*(.*)$`, "m").exec(status)?.[1] ?? "";

/** Threads of a process; those that end meanwhile are left out. */
const threadsOf = (process: string): Thread[] =>
  readdirSync(join(process, "task")).flatMap((thread) => {
    try {
      const status = readFileSync(join(process, "task", thread, "status"), "utf8");
      return [
        { tid: Number(thread), name: field(status, "Name"), cpus: parseCpuList(field(status, "Cpus_allowed_list")) },
      ];
    } catch {
      return [];
    }
  });

/** Nothing, of a process that has just ended. */
export const whileItRuns = <T>(look: () => T[]): T[] => {
  try {
    return look();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ESRCH") return [];
    throw error;
  }
};

/** Workers of the kernel for a disk's ring; nobody may tell them where to run (PF_NO_SETAFFINITY). */
const ofTheKernel = /^iou-/;

interface Placing {
  /** as a message calls it */
  readonly what: string;
  readonly thread: Thread | undefined;
  readonly wanted: readonly number[];
}

/** A machine of several processors runs each on a thread of its own, whose name the monitor gave (native/kvm). */
const placings = (machine: SeenMachine, { pinned, others }: MachinePlaces, proc: string): Placing[] => {
  if (pinned.length === 0) return [];
  const own = threadsOf(join(proc, String(machine.pid)));
  const processors = pinned.map((cpu, index) => {
    const thread = own.find(({ name }) => name === `vcpu ${index}`);
    return { what: `processor ${index}`, thread, wanted: [cpu] };
  });
  if (others.length === 0) return processors;
  const beside = machine.processes().filter((pid) => pid !== machine.pid);
  const rest = [...own, ...beside.flatMap((pid) => whileItRuns(() => threadsOf(join(proc, String(pid)))))].filter(
    (thread) => !processors.some((each) => each.thread === thread) && !ofTheKernel.test(thread.name),
  );
  return [...processors, ...rest.map((thread) => ({ what: `thread ${thread.name}`, thread, wanted: others }))];
};

const isWithin = (thread: Thread, wanted: readonly number[]): boolean =>
  thread.cpus.every((cpu) => wanted.includes(cpu));

const pinViolations = (machine: SeenMachine, promised: MachinePlaces, proc: string): string[] =>
  placings(machine, promised, proc).flatMap(({ what, thread, wanted }) => {
    if (thread === undefined) return [`its ${what} has no thread`];
    return isWithin(thread, wanted)
      ? []
      : [`its ${what} may run on CPU ${thread.cpus.join(",")}, promised ${wanted.join(",")}`];
  });

/** VmLck counts what the process may not have swapped, in kB (proc_pid_status(5)). */
const lockViolations = (process: string, lockedBytes: number): string[] => {
  if (lockedBytes === 0) return [];
  const locked = Number.parseInt(field(readFileSync(join(process, "status"), "utf8"), "VmLck"), 10) * 1024;
  return locked >= lockedBytes ? [] : [`${locked} bytes of its memory are locked, promised ${lockedBytes}`];
};

/** A monitor's jail, as far as its threads are concerned. */
export type SeenMachine = Pick<JailedRun, "pid" | "processes">;

/** What the kernel says of a machine that was promised otherwise; nothing of one that has just ended. */
export const placeViolations = (machine: SeenMachine, promised: MachinePlaces, proc = "/proc"): string[] =>
  machine.pid === null
    ? []
    : whileItRuns(() => [
        ...pinViolations(machine, promised, proc),
        ...lockViolations(join(proc, String(machine.pid)), promised.lockedBytes),
      ]);

/**
 * Puts threads where they belong: a change of their cpuset takes them away, for the kernel widens what a thread may run on
 * when its CPUs are gone, and narrows nothing when they come back. Answers why one could not be put there. A machine that
 * has ended needs none.
 */
export const place = (machine: SeenMachine, promised: MachinePlaces, proc = "/proc"): string[] =>
  machine.pid === null
    ? []
    : whileItRuns(() =>
        placings(machine, promised, proc).flatMap(({ what, thread, wanted }) => {
          if (thread === undefined || thread.cpus.join(",") === wanted.join(",")) return [];
          try {
            runOn(thread.tid, wanted);
            return [];
          } catch (error) {
            const { code } = error as NodeJS.ErrnoException;
            return code === "ESRCH" ? [] : [`its ${what} cannot be put on CPU ${wanted.join(",")}: ${code}`];
          }
        }),
      );
