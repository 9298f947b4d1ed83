// Small C programs of test/programs, compiled when a test needs them.
import { execFileSync } from "node:child_process";
import { join } from "node:path";

/** Compiles test/programs/NAME.c, static, into a directory; the program's path. */
export function compileProgram(name: string, directory: string): string {
  const program = join(directory, name);
  const source = join(import.meta.dirname, "programs", `${name}.c`);
  execFileSync("g++", ["-x", "c", "-std=gnu17", "-O1", "-static", "-Wall", "-Werror", "-o", program, source]);
  return program;
}
