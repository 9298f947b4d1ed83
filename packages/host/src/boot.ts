import { readFileSync } from "node:fs";

/** Id of this boot, new after every restart of the machine. */
export const readBootId = (): string => readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
