import { mkdtempDisposableSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { membersOf } from "./members.ts";

/** The kernel's threads are those of its process 2, where this process sees them. */
const kernelThread = readdirSync("/proc").find((pid) => {
  try {
    return /^\d+ \(.*\) \S 2 /s.test(readFileSync(`/proc/${pid}/stat`, "latin1"));
  } catch {
    return false;
  }
});

test.runIf(kernelThread !== undefined)("the kernel's own threads are no members of a cgroup", () => {
  using cgroup = mkdtempDisposableSync("/tmp/bulkhead-members-");
  writeFileSync(join(cgroup.path, "cgroup.procs"), `${kernelThread}\n${process.pid}\n`);
  expect(membersOf({ paths: { unified: cgroup.path } })).toEqual([process.pid]);
});
