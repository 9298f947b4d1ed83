import { readFileSync } from "node:fs";

/** A process that cannot be mistaken for a later one with the same pid; `startTicks` is field 22 of /proc/PID/stat. */
export interface ProcessIdentity {
  readonly pid: number;
  readonly startTicks: number;
}

/** Field 22 of a /proc/PID/stat line; the command name in field 2 may hold spaces and parentheses (proc(5)). */
export const startTicksOf = (stat: string): number => Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]);

/** State letter of a /proc/PID/stat line: Z and X are dead, whoever still has to reap them. */
export const stateOf = (stat: string): string => stat.slice(stat.lastIndexOf(")") + 2, stat.lastIndexOf(")") + 3);

const statOf = (pid: number | "self"): string | null => {
  try {
    return readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    return null;
  }
};

/** This process. */
export const ownIdentity = (): ProcessIdentity => ({
  pid: process.pid,
  startTicks: startTicksOf(statOf("self") ?? ""),
});

/** True while that very process lives; zombies count as dead. */
export const identityLives = ({ pid, startTicks }: ProcessIdentity): boolean => {
  const stat = statOf(pid);
  return stat !== null && startTicksOf(stat) === startTicks && !["Z", "X"].includes(stateOf(stat));
};
