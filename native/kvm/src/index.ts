import { resolve } from "node:path";

/** The monitor, as the native build leaves it: one static file. */
export const monitorPath = resolve(import.meta.dirname, "../build/bulkhead-vmm");
