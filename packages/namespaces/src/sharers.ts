import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { isAlive, readExit, readStatus } from "@bulkhead/native-namespaces";
import { readRecord, UnreadableRecord } from "./run-record.ts";

const namesIn = (directory: string): Promise<string[]> => readdir(directory).catch(() => []);

/** Started by an agent that may have been killed meanwhile: without a status it may still begin. */
const mayRun = (runDir: string): boolean => {
  if (readExit(runDir) !== null) return false;
  const status = readStatus(runDir);
  return status === null || isAlive(status.shim);
};

/** One that cannot be read shares them, for all that is known. */
const isSharer = async (runDir: string): Promise<boolean> => {
  try {
    const record = await readRecord(join(runDir, "record.json"));
    return record !== null && record.assignment.spec.resources.cpuPolicy !== "dedicated";
  } catch (error) {
    if (error instanceof UnreadableRecord) return true;
    throw error;
  }
};

/** Whether an agent has runs that share CPUs, living or starting, by its records in its per-boot directory. */
export const hasSharers = async (runInstances: string): Promise<boolean> => {
  for (const instance of await namesIn(runInstances)) {
    for (const run of await namesIn(join(runInstances, instance))) {
      const runDir = join(runInstances, instance, run);
      if ((await isSharer(runDir)) && mayRun(runDir)) return true;
    }
  }
  return false;
};
