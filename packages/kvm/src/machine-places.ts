import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Assignment, InstanceMachine } from "@bulkhead/contracts";
import { parseCpuList } from "@bulkhead/host";
import { runOn } from "@bulkhead/native-kvm";
import type { Engine } from "./engine/engine.ts";
import { cpusOf, memoryMibOf } from "./machine-size.ts";

const mebibyte = 2 ** 20;

/** Where a machine's processors and memory are to be, as far as that was promised. */
export interface MachinePlaces {
  /** the host's CPU of each of its processors; empty: wherever there is room */
  readonly pinned: readonly number[];
  /** memory that is never swapped, in bytes */
  readonly lockedBytes: number;
}

/** What an assignment promises of a machine of this engine. */
export const placesOf = ({ spec, cpuIds }: Assignment, engine: Pick<Engine, "holdsPlaces">): MachinePlaces => {
  const { resources, vm } = spec;
  const pinned = engine.holdsPlaces && resources.cpuPolicy === "dedicated" ? cpuIds.slice(0, cpusOf(resources)) : [];
  return { pinned, lockedBytes: vm?.memoryPolicy === "locked" ? memoryMibOf(resources) * mebibyte : 0 };
};

/** What a machine is told to be, of which its agent reports. */
export const instanceMachine = (
  assignment: Assignment,
  engine: Pick<Engine, "holdsPlaces" | "name">,
  kernel: string | null,
): InstanceMachine => {
  const { resources, vm } = assignment.spec;
  return {
    engine: engine.name,
    kernel,
    cpus: cpusOf(resources),
    cpuIds: [...assignment.cpuIds],
    pinned: placesOf(assignment, engine).pinned.length > 0,
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

/** A machine of several processors runs each on a thread of its own, whose name the monitor gave (native/kvm). */
const pinViolations = (process: string, pinned: readonly number[]): string[] => {
  if (pinned.length === 0) return [];
  const threads = threadsOf(process);
  return pinned.flatMap((cpu, index) => {
    const thread = threads.find(({ name }) => name === `vcpu ${index}`);
    if (thread === undefined) return [`its processor ${index} has no thread`];
    return thread.cpus.join(",") === String(cpu)
      ? []
      : [`its processor ${index} may run on CPU ${thread.cpus.join(",")}, promised ${cpu}`];
  });
};

/** VmLck counts what the process may not have swapped, in kB (proc_pid_status(5)). */
const lockViolations = (process: string, lockedBytes: number): string[] => {
  if (lockedBytes === 0) return [];
  const locked = Number.parseInt(field(readFileSync(join(process, "status"), "utf8"), "VmLck"), 10) * 1024;
  return locked >= lockedBytes ? [] : [`${locked} bytes of its memory are locked, promised ${lockedBytes}`];
};

/** What the kernel says of a monitor that was promised otherwise; nothing of one that has just ended. */
export const placeViolations = (pid: number, promised: MachinePlaces, proc = "/proc"): string[] => {
  const process = join(proc, String(pid));
  try {
    return [...pinViolations(process, promised.pinned), ...lockViolations(process, promised.lockedBytes)];
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ESRCH") return [];
    throw error;
  }
};

/**
 * Puts the threads of a machine's processors back where they belong, of which a change of their cpuset took them: the
 * kernel widens what a thread may run on when its CPUs are gone, and does not narrow it when they come back. Answers why one
 * could not be put back. A machine that has ended needs none.
 */
export const repairPins = (pid: number, { pinned }: Pick<MachinePlaces, "pinned">, proc = "/proc"): string[] => {
  if (pinned.length === 0) return [];
  try {
    const threads = threadsOf(join(proc, String(pid)));
    return pinned.flatMap((cpu, index) => {
      const thread = threads.find(({ name }) => name === `vcpu ${index}`);
      if (thread === undefined || thread.cpus.join(",") === String(cpu)) return [];
      try {
        runOn(thread.tid, cpu);
        return [];
      } catch (error) {
        return [`its processor ${index} cannot be put back on CPU ${cpu}: ${(error as NodeJS.ErrnoException).code}`];
      }
    });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ESRCH") return [];
    throw error;
  }
};
