import { sendSignal, startTicks, watchExit, type CgroupPlacement, type ProcessRef } from "@bulkhead/native-namespaces";
import type { JailedProcess } from "@bulkhead/node";
import { membersOf } from "./members.ts";

const sigkill = 9;

/** Processes of an instance's cgroup but its first. Those that end meanwhile are left out. */
export const otherProcesses = (cgroup: CgroupPlacement, init: ProcessRef): JailedProcess[] =>
  membersOf(cgroup).flatMap((pid) => {
    if (pid === init.pid) return [];
    try {
      const ref = { pid, startTicks: startTicks(pid) };
      const watch = watchExit(ref);
      const kill = (): void => void sendSignal(ref, sigkill);
      return [{ pid, ended: watch.exited, kill, [Symbol.dispose]: () => watch[Symbol.dispose]() }];
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "ENOENT" || code === "ESRCH") return [];
      throw error;
    }
  });
