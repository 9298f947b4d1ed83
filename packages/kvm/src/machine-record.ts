import { readFileSync } from "node:fs";
import { rename, writeFile } from "node:fs/promises";
import type { Assignment } from "@bulkhead/contracts";
import { isRecordedAssignment, type ProcessPlan } from "@bulkhead/node";

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

/** Written before the machine begins, whole or not at all. */
export const writeMachineRecord = async (path: string, record: MachineRecord): Promise<void> => {
  await writeFile(`${path}.new`, JSON.stringify(record), { mode: 0o600 });
  await rename(`${path}.new`, path);
};

/** What adoption asks of it; an agent of a later release may have written more. */
const isMachineRecord = (value: unknown): value is MachineRecord => {
  if (typeof value !== "object" || value === null) return false;
  const { assignment, process, engine } = value as Partial<MachineRecord>;
  return isRecordedAssignment(assignment) && Array.isArray(process?.args) && typeof engine === "string";
};

/** null when there is none, or a damaged one, or one that this release does not understand. Throws what the disk says. */
export const readMachineRecord = (path: string): MachineRecord | null => {
  try {
    const value: unknown = JSON.parse(readFileSync(path, "utf8"));
    return isMachineRecord(value) ? value : null;
  } catch (error) {
    if (error instanceof SyntaxError || (error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
};
