/** What an idle one-host fleet costs: PSS of every process that `up` started, and CPU over a minute. */
import { setTimeout as pause } from "node:timers/promises";
import { startFleet } from "../fleet.ts";
import { cpuTicksOf, pssKibOf, treeOf } from "./processes.ts";
import { printFigures, printTable } from "./report.ts";

/** The kernel's USER_HZ: ticks per second in /proc/PID/stat. */
const ticksPerSecond = 100;
const settleMs = 20_000;
const measuredMs = 60_000;

await using fleet = await startFleet();
// The figure is of the idle fleet, so start-up work (lazy loading, first heartbeats, garbage) has to be over; the time
// is part of the definition, nothing is awaited here.
await pause(settleMs);
const names = new Map(Object.entries(await fleet.servicePids()).map(([name, pid]) => [pid, name]));
names.set(fleet.upPid(), "up");

const processes = (): Map<number, string> => {
  const all = new Map<number, string>();
  for (const [root, name] of names) for (const pid of treeOf(root, [...names.keys()])) all.set(pid, name);
  return all;
};

const before = processes();
const ticksBefore = new Map([...before.keys()].map((pid) => [pid, cpuTicksOf(pid)]));
const began = performance.now();
await pause(measuredMs);
const seconds = (performance.now() - began) / 1000;

const perName = new Map<string, { pssKib: number; ticks: number; processes: number }>();
for (const [pid, name] of processes()) {
  const sum = perName.get(name) ?? { pssKib: 0, ticks: 0, processes: 0 };
  sum.pssKib += pssKibOf(pid);
  sum.ticks += cpuTicksOf(pid) - (ticksBefore.get(pid) ?? 0);
  sum.processes += 1;
  perName.set(name, sum);
}
if (perName.size < 5) throw new Error(`only ${[...perName.keys()].join(", ")} were found`);

const corePercent = (ticks: number): number => (ticks / ticksPerSecond / seconds) * 100;
const totals = [...perName.values()].reduce(
  (sum, each) => ({ pssKib: sum.pssKib + each.pssKib, ticks: sum.ticks + each.ticks }),
  { pssKib: 0, ticks: 0 },
);
printTable([
  ["process", "count", "PSS MiB", "% of a core"],
  ...[...perName].map(([name, { pssKib, ticks, processes: count }]) => [
    name,
    count,
    pssKib / 1024,
    corePercent(ticks),
  ]),
  ["together", "", totals.pssKib / 1024, corePercent(totals.ticks)],
]);
printFigures({
  bench: "idle",
  pssKib: totals.pssKib,
  corePercent: corePercent(totals.ticks),
  better: "lower",
  goal: "PSS <= 600 MiB and <= 3 % of a core",
  met: totals.pssKib <= 600 * 1024 && corePercent(totals.ticks) <= 3,
});
