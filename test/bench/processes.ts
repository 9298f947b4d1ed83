import { readdirSync, readFileSync } from "node:fs";

const fieldsOf = (pid: number): string[] => {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  // The second field is the name in parentheses and may hold spaces: what follows its last parenthesis is regular.
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
};

/** User and system time of a process, in USER_HZ ticks (proc(5): fields 14 and 15); 0 when it is gone. */
export const cpuTicksOf = (pid: number): number => {
  try {
    const fields = fieldsOf(pid);
    return Number(fields[11]) + Number(fields[12]);
  } catch {
    return 0;
  }
};

/** Proportional set size, in KiB; 0 when the process is gone or a zombie. */
export const pssKibOf = (pid: number): number => {
  try {
    return Number(/^Pss:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"))?.[1] ?? 0);
  } catch {
    return 0;
  }
};

/** A process and its descendants, without those below another of `roots`. */
export const treeOf = (root: number, roots: readonly number[]): number[] => {
  const children = new Map<number, number[]>();
  for (const name of readdirSync("/proc").filter((entry) => /^\d+$/.test(entry))) {
    try {
      const parent = Number(fieldsOf(Number(name))[1]);
      children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
    } catch {
      // Gone between the listing and the look.
    }
  }
  const found: number[] = [];
  const queue = [root];
  for (let pid = queue.pop(); pid !== undefined; pid = queue.pop()) {
    found.push(pid);
    queue.push(...(children.get(pid) ?? []).filter((child) => !roots.includes(child)));
  }
  return found;
};
