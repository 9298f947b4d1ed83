import { createHash, randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";

/** Field 22 of /proc/PID/stat; the name before it may hold spaces and parentheses (proc(5)). */
const startTicks = (pid: number): string | undefined => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
  } catch {
    return undefined;
  }
};

const boot = createHash("sha256").update(readFileSync("/proc/sys/kernel/random/boot_id")).digest("hex").slice(0, 12);
const self = `${boot}-${process.pid}-${startTicks(process.pid) ?? "0"}`;

/** A new name for unfinished work; it says which process of which boot it belongs to. */
export const unfinishedName = (): string => `${self}-${randomUUID()}`;

/** `running`: its process is alive; `dead`: it ended; `foreign`: another boot or another machine. */
export const ownerOf = (name: string): "running" | "dead" | "foreign" => {
  const [ownerBoot, pid, ticks] = name.split("-");
  if (ownerBoot !== boot) return "foreign";
  return startTicks(Number(pid)) === ticks ? "running" : "dead";
};
