import { readFileSync } from "node:fs";
import { sendSignal, startTicks, watchExit, type CgroupPlacement, type ProcessRef } from "@bulkhead/native-namespaces";
import type { JailedProcess } from "@bulkhead/node";

const sigkill = 9;

/** Processes of an instance's cgroup but its first. Those that end meanwhile are left out. */
export const otherProcesses = ({ paths }: CgroupPlacement, init: ProcessRef): JailedProcess[] => {
  const directory = paths["pids"] ?? paths["unified"] ?? Object.values(paths)[0] ?? "";
  const pids = readFileSync(`${directory}/cgroup.procs`, "utf8")
    .split("\n")
    .filter((line) => line !== "");
  return pids.map(Number).flatMap((pid) => {
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
};
