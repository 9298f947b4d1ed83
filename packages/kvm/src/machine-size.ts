import type { Assignment, Resources } from "@bulkhead/contracts";
import type { Engine } from "./engine/engine.ts";

const millisPerCpu = 1000;
const mebibyte = 2 ** 20;
/** Threads of a monitor beside one for each processor: its loop and those of its disks. */
const monitorThreads = 128;

/** Processors of a machine: whole ones, enough for the limit or, without one, for what is counted for placement. */
export const cpusOf = ({ cpuMillis, cpuLimitMillis }: Resources): number =>
  Math.ceil((cpuLimitMillis ?? cpuMillis) / millisPerCpu);

/** In whole large pages of 2 MiB, of which processors like their tables to be made. */
export const memoryMibOf = ({ memoryBytes }: Resources): number => 2 * Math.floor(memoryBytes / mebibyte / 2);

/**
 * The assignment as the jail enforces it: the monitor's limits are the machine's with what the engine uses itself. A
 * machine cannot use more than it has: its processors are threads, and its memory was never more. With CPUs of its own
 * there is no quota, which would stop a processor in the middle of a lock.
 */
export const monitorAssignment = (assignment: Assignment, engine: Engine): Assignment => {
  const { resources } = assignment.spec;
  const { memoryReservationBytes: _, ...limits } = resources;
  const { overheadBytes, overheadBytesPerMib, emulatorMillis } = engine.overhead;
  const quota = (resources.cpuLimitMillis ?? cpusOf(resources) * millisPerCpu) + emulatorMillis;
  const memoryMib = memoryMibOf(resources);
  const { cpuLimitMillis: __, ...unlimited } = limits;
  return {
    ...assignment,
    spec: {
      ...assignment.spec,
      mounts: [],
      tmpfs: [],
      container: { readOnlyRoot: true, capabilities: [] },
      resources: {
        ...unlimited,
        ...(resources.cpuPolicy === "dedicated" ? {} : { cpuLimitMillis: quota }),
        memoryBytes: memoryMib * (mebibyte + overheadBytesPerMib) + overheadBytes,
        pidsMax: cpusOf(resources) + monitorThreads,
      },
    },
  };
};
