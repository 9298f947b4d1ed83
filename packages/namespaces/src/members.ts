import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { CgroupPlacement } from "@bulkhead/native-namespaces";

/** PF_KTHREAD of the kernel's include/linux/sched.h */
const ofKernel = 0x0020_0000;

/** One that has ended meanwhile is no kernel thread any more. */
const isKernelThread = (pid: number): boolean => {
  try {
    // The name may hold blanks and brackets; flags are the seventh field behind it (proc_pid_stat(5)).
    const fields = readFileSync(`/proc/${pid}/stat`, "latin1")
      .replace(/^.*\) /s, "")
      .split(" ");
    return (Number(fields[6]) & ofKernel) !== 0;
  } catch {
    return false;
  }
};

/**
 * Processes of a cgroup, as the host numbers them; throws ENOENT when it is gone. Threads of the kernel that work for a
 * machine are in its cgroup, too (`kvm-nx-lpage-recovery`, vhost), and none of them: their namespaces are the host's.
 */
export const membersOf = ({ paths }: CgroupPlacement): number[] => {
  const directory = paths["pids"] ?? paths["unified"] ?? Object.values(paths)[0] ?? "";
  const text = readFileSync(join(directory, "cgroup.procs"), "utf8");
  const pids = text.split("\n").flatMap((line) => (line === "" ? [] : [Number(line)]));
  return pids.filter((pid) => !isKernelThread(pid));
};
