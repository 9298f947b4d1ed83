/**
 * A snapshot of a machine of 128 MiB, of which the guest has written to 92, to its guest again, in the monitor's own
 * jail and in no namespaces, files in the page cache: from the monitor's start to the guest's first byte on its serial
 * port, to a program's answer through a virtio console (it was asked before its machine was there), and the latter with
 * memory that is locked and therefore read whole: this one with the part of it that was on a processor, because it is
 * long enough to be put off one by whatever else runs. Beside them, how long the machine stood still for its snapshot.
 */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { buildMachineBench, monitorPath, restoreBenchPath } from "./machine-bench.ts";
import { printFigures } from "./report.ts";

const restores = 200;

interface Times {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly replyP50Ms: number;
  readonly replyP99Ms: number;
  readonly lockedP50Ms: number;
  readonly lockedP99Ms: number;
  readonly lockedRanP50Ms: number;
  readonly lockedRanP99Ms: number;
  readonly saveMs: number;
}

await buildMachineBench();
const { stdout } = await promisify(execFile)(restoreBenchPath, [monitorPath, String(restores)]);
const lines = stdout.trimEnd().split("\n");
const times = JSON.parse(lines.at(-1) ?? "") as Times;
console.log(lines.slice(0, -1).join("\n"));
printFigures({
  bench: "vm-restore",
  ...times,
  better: "lower",
  goal: "to the guest's first byte p50 <= 5 ms and p99 <= 10 ms",
  met: times.p50Ms <= 5 && times.p99Ms <= 10,
});
