/**
 * The monitor of microVMs with a guest of five instructions, in its own jail and in no namespaces: process start to the
 * guest's first byte on its serial port (at least 200 starts), machines made and ended per second four at a time, memory
 * beside the guest's of one and of twenty, and what a port write and a register read cost. The guest says when, so no
 * part of the start is left out. Exits are measured, not judged: where KVM interprets kernel code they say nothing.
 */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { printFigures } from "./report.ts";

const build = join(import.meta.dirname, "../../native/kvm/build");
const starts = 200;

interface Costs {
  readonly startP50Ms: number;
  readonly startP99Ms: number;
  readonly perSecond: number;
  readonly pssKib: number;
  readonly pssKibOfMany: number;
  readonly portWriteNs: number;
  readonly registerReadNs: number;
}

const { stdout } = await promisify(execFile)(join(build, "machine-bench"), [
  join(build, "bulkhead-vmm"),
  String(starts),
]);
const lines = stdout.trimEnd().split("\n");
const costs = JSON.parse(lines.at(-1) ?? "") as Costs;
console.log(lines.slice(0, -1).join("\n"));
const { startP50Ms: p50Ms, startP99Ms: p99Ms, ...rest } = costs;
printFigures({
  bench: "vm-monitor",
  p50Ms,
  p99Ms,
  ...rest,
  better: "lower",
  goal: "start p50 <= 5 ms and p99 <= 10 ms, at least 100/s, at most 3072 KiB each",
  met: p50Ms <= 5 && p99Ms <= 10 && costs.perSecond >= 100 && Math.max(costs.pssKib, costs.pssKibOfMany) <= 3072,
});
