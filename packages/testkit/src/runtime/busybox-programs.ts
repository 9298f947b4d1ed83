import type { ProgramKind } from "./runtime-suite.ts";

/** The suite's programs as commands of an image with BusyBox. */
export const busyboxPrograms: Readonly<Record<ProgramKind, readonly string[]>> = {
  sleep: ["sleep", "100000"],
  stubborn: ["sh", "-c", "trap '' TERM; echo deaf; while true; do sleep 1000; done"],
  cat: ["cat", "/dev/null"],
  exit7: ["sh", "-c", "echo to stdout; echo to stderr >&2; exit 7"],
  oom: ["sh", "-c", "x=a; while true; do x=$x$x; done"],
  spin: ["sh", "-c", "while true; do :; done"],
  missing: ["/no/such/program"],
};

/** What the suite runs beside them. */
export const busyboxCommands = {
  cat: ["cat"],
  exit3: ["sh", "-c", "exit 3"],
  missing: ["/no/such/program"],
} as const;
