/**
 * Sustained starts and removals: at least a thousand containers of `/bin/true`, 1, 4 and 16 at a time, by the agent's own
 * path (ContainerRuntime, no HTTP), until nothing of them is left on disk or in the kernel; without a network, and each
 * with its place in one (IPv4, IPv6, packet rules, name). Beside it, in the same run and with as many at a time:
 * `runc run` of an equal bundle whose overlay is mounted beforehand and whose network is loopback only, since runc has no
 * other, and `podman run --rm` with loopback only and with podman's own bridge (IPv4 only). All of it on a network of the
 * benchmark's own.
 */
import { readFileSync } from "node:fs";
import type { Assignment } from "@bulkhead/contracts";
import { busyboxImage } from "@bulkhead/testkit/images";
import { NameResponder } from "@bulkhead/host";
import { Rig } from "@bulkhead/namespaces/testing";
import { NetworkMembers } from "./network-members.ts";
import { onOwnMachine } from "./own-machine.ts";
import { PodmanPeer } from "./podman-peer.ts";
import { printFigures, printTable } from "./report.ts";
import { RuncBundle } from "./runc-bundle.ts";

const containers = 1_000;
const widths = [1, 4, 16] as const;
/** Peers take ten to fifty times as long; their rate is as steady after fewer. */
const runcRuns = 96;
const podmanRuns = 24;
const warmUps = 50;
const goalPerSecond = 200;

onOwnMachine();

await using rig = await Rig.open();
const image = await rig.image(await busyboxImage());
const members = new NetworkMembers();
using _responder = new NameResponder({
  networks: rig.runtime.networks,
  forward: null,
  log: { warn: (fields, message) => console.error(message, fields) },
});
const assignment = (network = "none") =>
  rig.assignment(image, {
    command: ["/bin/true"],
    network,
    resources: { cpuMillis: 500, cpuLimitMillis: 500, pidsMax: 64 },
  });

const complete = async (wanted: Assignment): Promise<void> => {
  const run = await rig.start(wanted);
  const ended = await run.ended;
  if (ended.exit.exitCode !== 0 || ended.reason !== "Exited") throw new Error(`ended badly: ${JSON.stringify(ended)}`);
  await run.release();
  await rig.runtime.remove(wanted.instanceId);
};

const alone = (): Promise<void> => complete(assignment());

const connected = async (): Promise<void> => {
  using place = members.take();
  await complete({ ...assignment(place.network.name), network: place.network });
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
/** Containers per second and CPU milliseconds of each, of this process and its children. */
const oursAt = async (width: number, one: () => Promise<void>): Promise<{ perSecond: number; cpuMsEach: number }> => {
  const before = cpuMs();
  const perSecond = await rateOf({ total: containers, width, afterwards: settled }, one);
  return { perSecond, cpuMsEach: (cpuMs() - before) / containers };
};
await rateOf({ total: warmUps, width: 4, afterwards: settled }, alone);
await rateOf({ total: warmUps, width: 4, afterwards: settled }, connected);

const rows: (string | number)[][] = [];
const measured = [];
await using podman = await PodmanPeer.prepare(rig, assignment());
for (const width of widths) {
  await using runc = await RuncBundle.prepare(rig, assignment(), { workers: width });
  await runc.run();
  await podman.run();
  await podman.run("podman");
  const [without, within] = [await oursAt(width, alone), await oursAt(width, connected)];
  const runcPerSecond = await rateOf({ total: runcRuns, width }, (worker) => runc.run(worker));
  const [podmanAlone, podmanConnected] = [
    await rateOf({ total: podmanRuns, width }, () => podman.run()),
    await rateOf({ total: podmanRuns, width }, () => podman.run("podman")),
  ];
  measured.push({ width, without, within, runcPerSecond, podmanAlone, podmanConnected });
  rows.push(
    [`${width} at a time`, containers, without.perSecond, without.cpuMsEach, runcPerSecond, podmanAlone],
    [`${width} at a time, with network`, containers, within.perSecond, within.cpuMsEach, "has none", podmanConnected],
  );
}
await rig.runtime.networks.end();
await rig.refuseLeaks();

printTable([["started and removed", "n", "bulkhead /s", "its CPU ms each", "runc /s", "podman /s"], ...rows]);
const several = measured.filter(({ width }) => width > 1);
const best = Math.max(...measured.map(({ within }) => within.perSecond));
const runcBest = Math.max(...measured.map((one) => one.runcPerSecond));
printFigures({
  bench: "container-rate",
  perSecond: best,
  ...Object.fromEntries(measured.map(({ width, within }) => [`perSecondAt${width}`, within.perSecond])),
  ...Object.fromEntries(measured.map(({ width, without }) => [`withoutNetworkAt${width}`, without.perSecond])),
  cpuMsEach: Math.min(...measured.map(({ within }) => within.cpuMsEach)),
  runcPerSecond: runcBest,
  podmanPerSecond: Math.max(...measured.map((one) => one.podmanAlone)),
  podmanNetworkPerSecond: Math.max(...measured.map((one) => one.podmanConnected)),
  ratio: best / runcBest,
  better: "higher",
  goal: `>= ${goalPerSecond} containers with network started and removed per second on two cores, at 4 and 16 at a time`,
  met: several.every(({ within }) => within.perSecond >= goalPerSecond),
});
