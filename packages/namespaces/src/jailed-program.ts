import { chownSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import type { UidRange } from "@bulkhead/host";
import type { JailedFile, JailedProgram, ProcessPlan } from "@bulkhead/node";

/** SIGTERM */
const stopSignal = 15;

/** How a program of ours runs: as its own user namespace's root, which is nobody on the host, with nothing around it. */
export const processOfProgram = ({ args }: JailedProgram): ProcessPlan => ({
  args,
  env: ["PATH=/usr/bin:/bin"],
  cwd: "/",
  user: "0:0",
  stopSignal,
});

/** Makes what a program may write its own: the file, or the directory and what lies in it. */
export const giveFiles = (files: readonly JailedFile[], { firstId }: UidRange): void => {
  for (const { hostPath, writable } of files) {
    if (!writable) continue;
    chownSync(hostPath, firstId, firstId);
    if (!statSync(hostPath).isDirectory()) continue;
    for (const name of readdirSync(hostPath)) chownSync(join(hostPath, name), firstId, firstId);
  }
};
