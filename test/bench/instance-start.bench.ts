/**
 * POST to the `running` event over HTTP, image present: sequential, and 16 at a time. The clock starts before the
 * request is sent and stops when the watcher of /v1/events reads the instance's `running`.
 */
import { busyboxImage } from "@bulkhead/testkit/images";
import { startFleet, type Fleet } from "../fleet.ts";
import { watchRunning, type Watch } from "./running-watch.ts";
import { percentile, printFigures, printTable } from "./report.ts";

const resources = { cpuMillis: 10, memoryBytes: 8 * 1024 * 1024, pidsMax: 16 };
const warmUps = 20;
const sequential = 150;
const parallel = { width: 16, rounds: 10 };

const startOne = async (fleet: Fleet, watch: Watch, name: string): Promise<number> => {
  const began = performance.now();
  const answer = await fleet.http("POST", "/v1/workloads", {
    body: { name, spec: { image: "busybox", command: ["sleep", "100000"], resources, stopGraceMs: 0 } },
  });
  if (answer.status !== 202) throw new Error(`POST answered ${answer.status}: ${JSON.stringify(answer.body)}`);
  return (await watch.running(`${name}-0`)) - began;
};

const removeAll = (fleet: Fleet, names: readonly string[]): Promise<unknown> =>
  Promise.all(names.map((name) => fleet.remove(name)));

await using fleet = await startFleet();
await fleet.importImage("busybox", await busyboxImage());
await using watch = await watchRunning(fleet);

for (let index = 0; index < warmUps; index += 1) {
  await startOne(fleet, watch, `warm-${index}`);
  await fleet.remove(`warm-${index}`);
}

const oneByOne: number[] = [];
for (let index = 0; index < sequential; index += 1) {
  oneByOne.push(await startOne(fleet, watch, `seq-${index}`));
  const instance = await fleet.instance(`seq-${index}-0`);
  if (instance.state !== "running") throw new Error("not running");
  // Its record reaches the disk a little after it runs.
  await fleet.until(() => {
    try {
      return fleet.isAlive(fleet.pidFromKernel(`seq-${index}-0`));
    } catch {
      return false;
    }
  }, `the process of seq-${index}`);
  await fleet.remove(`seq-${index}`);
}

const together: number[] = [];
const roundsBegan = performance.now();
let startingMs = 0;
for (let round = 0; round < parallel.rounds; round += 1) {
  const names = Array.from({ length: parallel.width }, (_, index) => `par-${round}-${index}`);
  const began = performance.now();
  together.push(...(await Promise.all(names.map((name) => startOne(fleet, watch, name)))));
  startingMs += performance.now() - began;
  await removeAll(fleet, names);
}
console.log(`whole parallel part, removals included: ${Math.round(performance.now() - roundsBegan)} ms`);

const row = (title: string, times: readonly number[]): (string | number)[] => [
  title,
  times.length,
  percentile(times, 0.5),
  percentile(times, 0.9),
  percentile(times, 0.99),
];
printTable([
  ["POST to running", "n", "p50 ms", "p90 ms", "p99 ms"],
  row("one at a time", oneByOne),
  row(`${parallel.width} at a time`, together),
]);
const [p50Ms, p99Ms] = [percentile(oneByOne, 0.5), percentile(oneByOne, 0.99)];
printFigures({
  bench: "instance-start",
  p50Ms,
  p99Ms,
  parallelP50Ms: percentile(together, 0.5),
  parallelP99Ms: percentile(together, 0.99),
  perSecond: (together.length / startingMs) * 1000,
  better: "lower",
  goal: "sequential p50 <= 25 ms, p99 <= 100 ms",
  met: p50Ms <= 25 && p99Ms <= 100,
});
