import { resolve } from "node:path";

/** The guest's PID 1, as the native build leaves it: one static file. */
export const guestPath = resolve(import.meta.dirname, "../build/bulkhead-guest");
