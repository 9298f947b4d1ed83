import { readFileSync } from "node:fs";
import { rename, writeFile } from "node:fs/promises";
import { Assignment } from "@bulkhead/contracts";
import type { ProcessPlan } from "@bulkhead/node";
import { Compile } from "typebox/compile";

/** What an agent that starts later must know of a machine: the jail's own record names the monitor's limits only. */
export interface MachineRecord {
  readonly assignment: Assignment;
  readonly process: ProcessPlan;
  readonly engine: string;
  /** release of its kernel; absent in what an agent before this one wrote */
  readonly kernel?: string;
  /** ids of the shares of its assignment that were taken away since it started */
  readonly detached?: readonly string[];
  /** its image's disk; absent in what an agent before it wrote */
  readonly image?: string;
}

const checkAssignment = Compile(Assignment);

/** Written before the machine begins, whole or not at all. */
export const writeMachineRecord = async (path: string, record: MachineRecord): Promise<void> => {
  await writeFile(`${path}.new`, JSON.stringify(record), { mode: 0o600 });
  await rename(`${path}.new`, path);
};

/** null when there is none, or a damaged one. */
export const readMachineRecord = (path: string): MachineRecord | null => {
  try {
    const value = JSON.parse(readFileSync(path, "utf8")) as MachineRecord;
    return checkAssignment.Check(value.assignment) && Array.isArray(value.process.args) ? value : null;
  } catch {
    return null;
  }
};
