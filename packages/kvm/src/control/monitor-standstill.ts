import { rm } from "node:fs/promises";
import { fleetError } from "@bulkhead/contracts";
import type { Standstill } from "../engine/engine.ts";
import { askControl } from "./ask-control.ts";

/** Memory is written to the host's disk meanwhile. */
const saveMs = 300_000;

const isState = (answer: string, state: string): boolean => {
  try {
    return (JSON.parse(answer) as { state?: unknown }).state === state;
  } catch {
    return false;
  }
};

const order = async (ports: string, request: "pause" | "resume", state: string): Promise<void> => {
  const answer = await askControl(ports, request);
  if (!isState(answer, state))
    throw fleetError("RUNTIME_FAILED", `the machine is not ${state}: ${answer.slice(0, 200)}`);
};

/** Our own monitor's way. */
export const monitorStandstill: Standstill = {
  begin: (ports) => order(ports, "pause", "paused"),
  save: async (ports, { state, memory }, memoryMib) => {
    const newFiles = [state, memory];
    const words = [...newFiles.flatMap((path) => ["--new-file", path]), "--memory-mib", String(memoryMib)];
    try {
      await askControl(ports, "save", { words, timeoutMs: saveMs });
    } catch (error) {
      // An asker that was ended for being late left them.
      for (const path of newFiles) await rm(path, { force: true });
      throw error;
    }
  },
  end: (ports) => order(ports, "resume", "running"),
};
