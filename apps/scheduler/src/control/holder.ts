import { readFileSync, readlinkSync } from "node:fs";

/** Field 22 of /proc/PID/stat, counted after the command's closing parenthesis (proc(5)): start time since boot. */
const startTimeField = 19;

const startTime = (pid: number): string | undefined => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[startTimeField];
  } catch {
    return undefined;
  }
};

/** The part of a holder's name that says where its process id means something: boot and pid namespace. */
const place = (): string => {
  const boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  const [namespace] = /\d+/.exec(readlinkSync("/proc/self/ns/pid")) ?? ["0"];
  return `${boot}/${namespace}`;
};

/** This process's name as a lease holder: tells a process from every other, also from a later one with its id. */
export const ownHolder = (): string => `${place()}/${process.pid}/${startTime(process.pid) ?? "0"}`;

/** True when a holder was a process of this machine that has ended; then its lease need not run out. */
export const isDeadHolder = (holder: string): boolean => {
  const [boot, namespace, pid, started] = holder.split("/");
  if (pid === undefined || started === undefined || `${boot}/${namespace}` !== place()) return false;
  return startTime(Number(pid)) !== started;
};
