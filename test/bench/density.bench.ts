/**
 * Five hundred idle containers at once: what one more start takes beside them against a start on an empty host, and what
 * it costs a core to watch them as the agent does (usage of each every 5 s, its contract read back every 30 s).
 */
import { setTimeout as delay } from "node:timers/promises";
import type { Run } from "@bulkhead/node";
import { busyboxImage } from "@bulkhead/testkit/images";
import { Rig } from "@bulkhead/namespaces/testing";
import { median, percentile, printFigures, printTimes } from "./report.ts";

const containers = 500;
/** Many: the first dozens after five hundred starts meet what those have left the kernel to do. */
const starts = 300;
const warmUps = 20;
/** The agent's own periods (packages/node, agent.ts). */
const usageMs = 5_000;
const contractMs = 30_000;
const watchedMs = 30_000;
const ratioGoal = 1.2;
const shareGoal = 0.03;

await using rig = await Rig.open();
const image = await rig.image(await busyboxImage());
const idle = () => rig.assignment(image, { command: ["/bin/sleep", "1000000"], resources: { memoryBytes: 2 ** 23 } });

/** Start to running of one container, which is then removed; milliseconds. */
const startOne = async (): Promise<number> => {
  const wanted = idle();
  const began = performance.now();
  const run = await rig.start(wanted);
  const took = performance.now() - began;
  await run.stop(0);
  await run.release();
  await rig.runtime.remove(wanted.instanceId);
  return took;
};

const startMany = async (): Promise<number[]> => {
  const times: number[] = [];
  for (let index = 0; index < starts; index += 1) times.push(await startOne());
  await rig.runtime.settled();
  return times;
};

/** Share of a core that this process uses while it watches them. */
const watch = async (runs: readonly Run[]): Promise<number> => {
  const before = process.cpuUsage();
  const began = performance.now();
  const contractsPerRound = Math.ceil((runs.length * usageMs) / contractMs);
  for (let round = 0; performance.now() - began < watchedMs; round += 1) {
    for (const run of runs) if (run.usage().pids < 1) throw new Error("an idle container is gone");
    for (let index = 0; index < contractsPerRound; index += 1) {
      const check = runs[(round * contractsPerRound + index) % runs.length]?.checkContract();
      if (check?.held === false) throw new Error(`not held: ${check.violations.join("; ")}`);
    }
    await delay(began + (round + 1) * usageMs - performance.now());
  }
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000 / (performance.now() - began);
};

for (let index = 0; index < warmUps; index += 1) await startOne();
const alone = await startMany();
const runs: Run[] = [];
for (let index = 0; index < containers; index += 1) runs.push(await rig.start(idle()));
const crowded = await startMany();
const share = await watch(runs);
await rig.clear();
const again = await startMany();

const empty = [...alone, ...again];
printTimes("start to running", { "on an empty host": empty, [`beside ${containers} idle`]: crowded });
console.log(`watching ${containers}: ${(share * 100).toFixed(2)} % of a core`);
const ratio = median(crowded) / median(empty);
printFigures({
  bench: "density",
  containers,
  p50Ms: median(crowded),
  p99Ms: percentile(crowded, 0.99),
  emptyP50Ms: median(empty),
  ratio,
  coreShare: share,
  better: "lower",
  goal: `start p50 beside ${containers} idle containers <= ${ratioGoal} x that with none; watching them <= ${shareGoal * 100} % of a core`,
  met: ratio <= ratioGoal && share <= shareGoal,
});
