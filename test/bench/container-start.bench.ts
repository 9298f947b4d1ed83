/**
 * Start to exit of `/bin/true`: the agent's own path (ContainerRuntime, no HTTP) without pools, and with a few first
 * processes that wait ready, against `runc run` of an equal bundle: same namespaces with user and network, same seccomp
 * profile, capabilities, mounts and limits, taken from the same specification. runc finds its overlay mounted; ours
 * mounts its own. All three in turn, at least 200 times.
 * `--peer crun` on a host with cgroup v2 (benchmark container-start-lab); `--pairs N` for fewer.
 */
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { busyboxImage } from "@bulkhead/testkit/images";
import { Rig } from "@bulkhead/namespaces/testing";
import { interleaveAll, median, percentile, printFigures, printTable, printTimes, settled } from "./report.ts";
import { RuncBundle } from "./runc-bundle.ts";
import { StepTable } from "./step-table.ts";

const { values: options } = parseArgs({
  options: { peer: { type: "string", default: "runc" }, pairs: { type: "string", default: "220" } },
});
const goals = { runc: 0.1, crun: 0.5 };
const { peer: peerName } = options;
if (peerName !== "runc" && peerName !== "crun") throw new Error(`--peer is runc or crun, not ${peerName}`);
const goal = goals[peerName];
const pairs = Number(options.pairs);
if (!Number.isSafeInteger(pairs) || pairs < 1) throw new Error(`--pairs is a number above 0, not ${options.pairs}`);
const tracedStarts = Math.min(50, pairs);
const warmUps = Math.min(20, pairs);
const readyProcesses = 4;

await using rig = await Rig.open();
const image = await rig.image(await busyboxImage());
await using pooled = await Rig.open({ image: await rig.ensured(image) });
await pooled.reopen({ readyProcesses });
const assignment = () =>
  rig.assignment(image, { command: ["/bin/true"], resources: { cpuMillis: 500, cpuLimitMillis: 500, pidsMax: 64 } });
await using peer = await RuncBundle.prepare(rig, assignment());

const startPhases = { plain: [] as number[], pools: [] as number[] };
const startOn = async (host: Rig, phase: number[]): Promise<number> => {
  const wanted = assignment();
  const began = performance.now();
  const run = await host.start(wanted);
  const started = performance.now();
  const ended = await run.ended;
  const took = performance.now() - began;
  phase.push(started - began);
  if (ended.exit.exitCode !== 0 || ended.reason !== "Exited") throw new Error(`ended badly: ${JSON.stringify(ended)}`);
  // Removal is not timed: the exit is known, and runc's figure includes its own `delete` only because it cannot do otherwise.
  await run.release();
  await host.runtime.remove(wanted.instanceId);
  return took;
};
const plain = (): Promise<number> => startOn(rig, startPhases.plain);
const filled = async (): Promise<void> => {
  while (pooled.runtime.ready.count < readyProcesses) await delay(1);
};
const withPools = (): Promise<number> => startOn(pooled, startPhases.pools);

for (let index = 0; index < warmUps; index += 1) {
  await plain();
  await filled();
  await withPools();
  await peer.run(0, peerName);
}
for (const phase of Object.values(startPhases)) phase.length = 0;
const rested =
  (run: () => Promise<number>): (() => Promise<number>) =>
  async () => {
    await filled();
    await settled();
    return run();
  };
const times = await interleaveAll(pairs, {
  plain: rested(plain),
  pools: rested(withPools),
  peer: rested(() => peer.run(0, peerName)),
});
const measuredStarts = { plain: [...startPhases.plain], pools: [...startPhases.pools] };

// Apart from the measured ones, because every step then reads the clock.
for (const [title, host, count, one] of [
  ["step, without pools", rig, 0, plain],
  ["step, with pools", pooled, readyProcesses, withPools],
] as const) {
  const steps = new StepTable();
  await host.reopen({ onSteps: (noted) => steps.add(noted), readyProcesses: count });
  for (let index = 0; index < tracedStarts; index += 1) {
    await filled();
    await one();
  }
  printTable(steps.rows(title));
  console.log();
}
printTimes("start to exit of /bin/true", {
  "bulkhead (agent's path)": times.plain,
  "  of it: until the entrypoint runs": measuredStarts.plain,
  [`bulkhead, ${readyProcesses} processes ready`]: times.pools,
  "  of it: until its entrypoint runs": measuredStarts.pools,
  [`${peerName} run`]: times.peer,
});
const ratio = median(times.plain) / median(times.peer);
printFigures({
  bench: peerName === "runc" ? "container-start" : "container-start-lab",
  p50Ms: median(times.plain),
  p99Ms: percentile(times.plain, 0.99),
  pooledP50Ms: median(times.pools),
  pooledP99Ms: percentile(times.pools, 0.99),
  peerP50Ms: median(times.peer),
  ratio,
  pooledRatio: median(times.pools) / median(times.peer),
  better: "lower",
  goal: `bulkhead / ${peerName} <= ${goal}`,
  met: ratio <= goal,
});
