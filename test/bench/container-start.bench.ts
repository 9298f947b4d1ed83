/**
 * Start to exit of `/bin/true`: the agent's own path (ContainerRuntime, no HTTP, no pools) against `runc run` of an
 * equal bundle: same namespaces with user and network, same seccomp profile, capabilities, mounts and limits, taken from
 * the same specification. runc finds its overlay mounted; ours mounts its own. Interleaved, at least 200 pairs.
 * `--peer crun` on a host with cgroup v2 (benchmark container-start-lab); `--pairs N` for fewer.
 */
import { parseArgs } from "node:util";
import { busyboxImage } from "@bulkhead/testkit/images";
import { Rig } from "@bulkhead/namespaces/testing";
import { interleave, median, percentile, printFigures, printTable, printTimes, settled } from "./report.ts";
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

await using rig = await Rig.open();
const image = await rig.image(await busyboxImage());
const assignment = () =>
  rig.assignment(image, { command: ["/bin/true"], resources: { cpuMillis: 500, cpuLimitMillis: 500, pidsMax: 64 } });
await using peer = await RuncBundle.prepare(rig, assignment());

const startPhase: number[] = [];
const ours = async (): Promise<number> => {
  const wanted = assignment();
  const began = performance.now();
  const run = await rig.start(wanted);
  const started = performance.now();
  const ended = await run.ended;
  const took = performance.now() - began;
  startPhase.push(started - began);
  if (ended.exit.exitCode !== 0 || ended.reason !== "Exited") throw new Error(`ended badly: ${JSON.stringify(ended)}`);
  // Removal is not timed: the exit is known, and runc's figure includes its own `delete` only because it cannot do otherwise.
  await run.release();
  await rig.runtime.remove(wanted.instanceId);
  return took;
};

for (let index = 0; index < warmUps; index += 1) {
  await ours();
  await peer.run(0, peerName);
}
startPhase.length = 0;
const rested =
  (run: () => Promise<number>): (() => Promise<number>) =>
  async () => {
    await settled();
    return run();
  };
const times = await interleave(
  pairs,
  rested(ours),
  rested(() => peer.run(0, peerName)),
);
const measuredStarts = [...startPhase];

// Apart from the measured pairs, because every step then reads the clock.
const steps = new StepTable();
await rig.reopen({ onSteps: (noted) => steps.add(noted) });
for (let index = 0; index < tracedStarts; index += 1) await ours();
printTable(steps.rows());
console.log();
printTimes("start to exit of /bin/true", {
  "bulkhead (agent's path)": times.a,
  "  of it: until the entrypoint runs": measuredStarts,
  [`${peerName} run`]: times.b,
});
const ratio = median(times.a) / median(times.b);
printFigures({
  bench: peerName === "runc" ? "container-start" : "container-start-lab",
  p50Ms: median(times.a),
  p99Ms: percentile(times.a, 0.99),
  peerP50Ms: median(times.b),
  ratio,
  better: "lower",
  goal: `bulkhead / ${peerName} <= ${goal}`,
  met: ratio <= goal,
});
