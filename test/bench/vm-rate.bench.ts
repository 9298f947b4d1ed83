/**
 * Machines that are made, heard of and ended per second, four at a time, each with 128 MiB and a guest of five
 * instructions: at least 400 by the monitor alone in the jail it makes itself, and as many in the container runtime's jail
 * by the agent's path, until nothing of them is left on disk or in the kernel.
 */
import { JailedMachines } from "./jailed-machines.ts";
import { askMachineBench, buildMachineBench, monitorPath } from "./machine-bench.ts";
import { median, printFigures, printTable } from "./report.ts";

const atATime = 4;
const turns = 5;
const machinesEach = 80;
const goalPerSecond = 100;

await buildMachineBench();
await using machines = await JailedMachines.open();

const jailedRate = async (): Promise<number> => {
  let left = machinesEach;
  const began = performance.now();
  await Promise.all(
    Array.from({ length: atATime }, async (_, worker) => {
      while (left > 0) {
        left -= 1;
        await machines.startAndEnd(worker);
      }
    }),
  );
  await machines.settled();
  return (machinesEach / (performance.now() - began)) * 1000;
};

const alone: number[] = [];
const jailed: number[] = [];
await jailedRate();
for (let turn = 0; turn < turns; turn += 1) {
  alone.push((await askMachineBench<{ perSecond: number }>("rate", monitorPath, machinesEach, atATime)).perSecond);
  jailed.push(await jailedRate());
}
printTable([
  [`machines per second, ${atATime} at a time`, "median", "least", "most"],
  ...Object.entries({ "monitor's own jail": alone, "container runtime's jail": jailed }).map(([title, rates]) => [
    title,
    median(rates),
    Math.min(...rates),
    Math.max(...rates),
  ]),
]);
const perSecond = Math.min(median(alone), median(jailed));
printFigures({
  bench: "vm-rate",
  perSecond,
  alonePerSecond: median(alone),
  jailedPerSecond: median(jailed),
  better: "higher",
  goal: `at least ${goalPerSecond}/s in both jails`,
  met: perSecond >= goalPerSecond,
});
