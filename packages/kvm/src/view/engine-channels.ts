import { readFile } from "node:fs/promises";
import { fleetError } from "@bulkhead/contracts";
import type { MachineChannels } from "./channels.ts";
import { askMonitor } from "./monitor-channels.ts";
import { qemuChannels } from "./qemu-channels.ts";

/** By an engine's name: how its machines' channels are known. */
const readers: Readonly<Record<string, (ports: string, pid: number) => Promise<MachineChannels>>> = {
  kvm: (ports) => askMonitor(ports),
  qemu: async (_ports, pid) => qemuChannels((await readFile(`/proc/${pid}/cmdline`, "utf8")).split("\0")),
};

/**
 * Every channel of a running machine: `ports` is the directory of its sockets, `pid` its monitor. Rejects RUNTIME_FAILED
 * when the monitor does not tell.
 */
export const channelsOf = async (engine: string, ports: string, pid: number): Promise<MachineChannels> => {
  const read = readers[engine];
  if (read === undefined) throw fleetError("RUNTIME_FAILED", `nobody knows the channels of the engine ${engine}`);
  return read(ports, pid);
};
