/**
 * Start of a microVM: from the start of the monitor's process to its guest's first instruction, which is a write to the
 * serial port, with 128 MiB and everything in the page cache; at least 200 each, in turns of ten. Twice: in the jail that
 * the monitor makes itself, and in the container runtime's around that (own namespaces, cgroup, ids, root), as an agent
 * starts it. What the agent's whole start takes, jail and all, is a row beside them.
 */
import { JailedMachines } from "./jailed-machines.ts";
import { askMachineBench, buildMachineBench, monitorPath } from "./machine-bench.ts";
import { median, percentile, printFigures, printTimes } from "./report.ts";

const turns = 20;
const startsEach = 10;
const goal = { p50Ms: 5, p99Ms: 10 };

await buildMachineBench();
await using machines = await JailedMachines.open();
await machines.noteSteps();
const alone: number[] = [];
const jailed: number[] = [];
const request: number[] = [];
for (let turn = -1; turn < turns; turn += 1) {
  const { firstByteNs } = await askMachineBench<{ firstByteNs: number[] }>("start", monitorPath, startsEach);
  const each = [];
  for (let start = 0; start < startsEach; start += 1) each.push(await machines.startAndEnd(0));
  // Caches are warm after the first turn.
  if (turn < 0) continue;
  alone.push(...firstByteNs.map((ns) => ns / 1e6));
  jailed.push(...each.map(({ monitorMs }) => monitorMs));
  request.push(...each.map(({ requestMs }) => requestMs));
}
printTimes("to the guest's first instruction", {
  "monitor's start, its own jail": alone,
  "monitor's start, container runtime's jail": jailed,
  "agent's request, all of it": request,
});
const p50Ms = Math.max(median(alone), median(jailed));
const p99Ms = Math.max(percentile(alone, 0.99), percentile(jailed, 0.99));
printFigures({
  bench: "vm-start",
  p50Ms,
  p99Ms,
  aloneP50Ms: median(alone),
  aloneP99Ms: percentile(alone, 0.99),
  requestP50Ms: median(request),
  requestP99Ms: percentile(request, 0.99),
  better: "lower",
  goal: `process start to first instruction in both jails: p50 <= ${goal.p50Ms} ms, p99 <= ${goal.p99Ms} ms`,
  met: p50Ms <= goal.p50Ms && p99Ms <= goal.p99Ms,
});
