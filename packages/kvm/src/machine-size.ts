import { guestMemoryBytes, machineMemoryBytes, type Assignment, type Resources } from "@bulkhead/contracts";
import type { Engine } from "./engine/engine.ts";
import { mountsInJail, sharesInJail } from "./shared-directories.ts";

const millisPerCpu = 1000;
const mebibyte = 2 ** 20;
/** Threads of a monitor beside one for each processor: its loop and those of its disks. */
const monitorThreads = 128;

/** Processors of a machine: whole ones, enough for the limit or, without one, for what is counted for placement. */
export const cpusOf = ({ cpuMillis, cpuLimitMillis }: Resources): number =>
  Math.ceil((cpuLimitMillis ?? cpuMillis) / millisPerCpu);

export const memoryMibOf = ({ memoryBytes }: Resources): number => guestMemoryBytes(memoryBytes) / mebibyte;

/**
 * The assignment as the jail enforces it: the monitor's limits are the machine's with what the engine uses itself, just
 * as placement counted them (packages/placement/src/cost.ts). A
 * machine cannot use more than it has: its processors are threads, and its memory was never more. With CPUs of its own
 * there is no quota, which would stop a processor in the middle of a lock.
 */
export const monitorAssignment = (assignment: Assignment, engine: Engine): Assignment => {
  const { resources } = assignment.spec;
  const { memoryReservationBytes: _, ...limits } = resources;
  const { emulatorMillis } = engine.overhead;
  const quota = (resources.cpuLimitMillis ?? cpusOf(resources) * millisPerCpu) + emulatorMillis;
  const { cpuLimitMillis: __, ...unlimited } = limits;
  return {
    ...assignment,
    ...(assignment.shares === undefined ? {} : { shares: sharesInJail(assignment) }),
    spec: {
      ...assignment.spec,
      mounts: mountsInJail(assignment),
      tmpfs: [],
      container: { readOnlyRoot: true, capabilities: [] },
      resources: {
        ...unlimited,
        cpuMillis: resources.cpuMillis + emulatorMillis,
        ...(resources.cpuPolicy === "dedicated" ? {} : { cpuLimitMillis: quota }),
        memoryBytes: machineMemoryBytes(guestMemoryBytes(resources.memoryBytes), engine.overhead),
        pidsMax: cpusOf(resources) + monitorThreads,
      },
    },
  };
};
