import { resolve } from "node:path";

export { nextData, probe, runOn, selfTest } from "./host.ts";
export { InProcessMachine } from "./in-process-machine.ts";

/** The monitor, as the native build leaves it: one static file. */
export const monitorPath = resolve(import.meta.dirname, "../build/bulkhead-vmm");

/** Becomes a monitor, with a file server beside it for each directory that its machine shares; one static file, too. */
export const sharingPath = resolve(import.meta.dirname, "../build/bulkhead-sharing");
