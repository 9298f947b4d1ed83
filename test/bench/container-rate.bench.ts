/**
 * Sustained starts and removals: at least a thousand containers of `/bin/true`, 1, 4 and 16 at a time, by the agent's own
 * path (ContainerRuntime, no HTTP), until nothing of them is left on disk or in the kernel. Beside it, in the same run
 * and with as many at a time: `runc run` of an equal bundle whose overlay is mounted beforehand, and `podman run --rm`.
 */
import { readFileSync } from "node:fs";
import { busyboxImage } from "@bulkhead/testkit/images";
import { Rig } from "@bulkhead/namespaces/testing";
import { PodmanPeer } from "./podman-peer.ts";
import { printFigures, printTable } from "./report.ts";
import { RuncBundle } from "./runc-bundle.ts";

const containers = 1_000;
const widths = [1, 4, 16] as const;
/** Peers take ten to fifty times as long; their rate is as steady after fewer. */
const runcRuns = 96;
const podmanRuns = 32;
const warmUps = 50;
const goalPerSecond = 200;

await using rig = await Rig.open();
const image = await rig.image(await busyboxImage());
const assignment = () =>
  rig.assignment(image, { command: ["/bin/true"], resources: { cpuMillis: 500, cpuLimitMillis: 500, pidsMax: 64 } });

const ours = async (): Promise<void> => {
  const wanted = assignment();
  const run = await rig.start(wanted);
  const ended = await run.ended;
  if (ended.exit.exitCode !== 0 || ended.reason !== "Exited") throw new Error(`ended badly: ${JSON.stringify(ended)}`);
  await run.release();
  await rig.runtime.remove(wanted.instanceId);
};

/** Does `one` that many times, `width` at once, and then `afterwards`; how many per second in all. */
const rateOf = async (
  load: { total: number; width: number; afterwards?: () => Promise<void> },
  one: (worker: number) => Promise<unknown>,
): Promise<number> => {
  let left = load.total;
  const began = performance.now();
  await Promise.all(
    Array.from({ length: load.width }, async (_, worker) => {
      for (; left > 0;) {
        left -= 1;
        await one(worker);
      }
    }),
  );
  await load.afterwards?.();
  return (load.total / (performance.now() - began)) * 1000;
};

/** CPU time of this process and of every child it has waited for, in milliseconds (proc(5): fields 14 to 17). */
const cpuMs = (): number => {
  const stat = readFileSync("/proc/self/stat", "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks) * 10, 0);
};

const settled = () => rig.runtime.settled();
await rateOf({ total: warmUps, width: 4, afterwards: settled }, ours);

const rows: (string | number)[][] = [];
const measured: { width: number; perSecond: number; runc: number; podman: number; cpuMsEach: number }[] = [];
await using podman = await PodmanPeer.prepare(rig, assignment());
for (const width of widths) {
  await using runc = await RuncBundle.prepare(rig, assignment(), { workers: width });
  await runc.run();
  await podman.run();
  const cpuBefore = cpuMs();
  const perSecond = await rateOf({ total: containers, width, afterwards: settled }, ours);
  const cpuMsEach = (cpuMs() - cpuBefore) / containers;
  const peers = {
    runc: await rateOf({ total: runcRuns, width }, (worker) => runc.run(worker)),
    podman: await rateOf({ total: podmanRuns, width }, () => podman.run()),
  };
  measured.push({ width, perSecond, cpuMsEach, ...peers });
  rows.push([`${width} at a time`, containers, perSecond, cpuMsEach, peers.runc, peers.podman]);
}
await rig.refuseLeaks();

printTable([["started and removed", "n", "bulkhead /s", "its CPU ms each", "runc /s", "podman /s"], ...rows]);
const best = Math.max(...measured.map(({ perSecond }) => perSecond));
printFigures({
  bench: "container-rate",
  perSecond: best,
  ...Object.fromEntries(measured.map(({ width, perSecond }) => [`perSecondAt${width}`, perSecond])),
  cpuMsEach: Math.min(...measured.map((one) => one.cpuMsEach)),
  runcPerSecond: Math.max(...measured.map(({ runc }) => runc)),
  podmanPerSecond: Math.max(...measured.map((one) => one.podman)),
  ratio: best / Math.max(...measured.map(({ runc }) => runc)),
  better: "higher",
  goal: `>= ${goalPerSecond} containers started and removed per second on two cores`,
  met: best >= goalPerSecond,
});
