import { readFileSync } from "node:fs";

let known: string | undefined;

/** Id of this boot, new after every restart of the machine. No process sees two. */
export const readBootId = (): string => (known ??= readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim());
