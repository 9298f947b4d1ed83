// A machine is taken to files and goes on as others: each knows its own name, addresses, time and randomness.
import { constants } from "node:fs";
import { readdir, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Assignment, SnapshotId } from "@bulkhead/contracts";
import { busyboxImage } from "@bulkhead/testkit/images";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { engine, sharedParts } from "./testing/machine-rig.ts";
import { MixedHost, placeOf } from "./testing/mixed-host.ts";

const shared = await sharedParts(await busyboxImage());
let host: MixedHost;
let original: Assignment;

vi.setConfig({ testTimeout: 300_000 });
const patience = { timeout: 120_000, interval: 500 };

/** Says who it is, over and over, on its disk. */
const counts = `n=0
while :; do
  n=$((n + 1))
  address=$(ip -o -4 addr show eth0 | awk '{ print $4 }')
  echo "$n $(hostname) $address $(cat /sys/class/net/eth0/address) $(cat /proc/sys/kernel/random/uuid) $(date +%s)" >> /said
  sleep 0.2
done`;

interface Said {
  readonly count: number;
  /** name, address and hardware address */
  readonly who: string;
  readonly random: string;
  readonly seconds: number;
}

const saidBy = async (assignment: Assignment): Promise<Said[]> => {
  const lines = (await host.exec(assignment, "cat /said")).split("\n").map((line) => line.split(" "));
  return lines.map(([count = "", name = "", address = "", mac = "", random = "", seconds = ""]) => ({
    count: Number(count),
    who: `${name} ${address} ${mac}`,
    random,
    seconds: Number(seconds),
  }));
};

const identityOf = ({ name, network }: Assignment): string =>
  `${name} ${network?.ipv4?.address}/${network?.ipv4?.prefix} ${network?.mac}`;

beforeAll(async () => {
  host = await MixedHost.open(shared);
  original = await host.start("vm", placeOf(3, ["original-0"]), { command: ["sh", "-c", counts] });
}, 300_000);
afterAll(async () => {
  await host[Symbol.asyncDispose]();
  await rm(shared.directory, { recursive: true, force: true });
}, 120_000);

/** The files of a snapshot that a machine's processes could change: a guest may have taken them over. */
const changeableBy = async (assignment: Assignment, snapshotId: SnapshotId): Promise<string[]> => {
  const idOf = ({ dev, ino }: { dev: number; ino: number }): string => `${dev}:${ino}`;
  const directory = join(host.paths("vm").state, "snapshots", snapshotId);
  const names = new Map<string, string>();
  for (const name of await readdir(directory)) names.set(idOf(await stat(join(directory, name))), name);
  const changeable: string[] = [];
  for (const pid of await host.processesOf(assignment)) {
    for (const descriptor of await readdir(`/proc/${pid}/fd`)) {
      const file = await stat(`/proc/${pid}/fd/${descriptor}`).catch(() => null);
      const name = file === null ? undefined : names.get(idOf(file));
      if (name === undefined) continue;
      const [, flags = ""] =
        /^flags:\s+0(\d+)$/m.exec(await readFile(`/proc/${pid}/fdinfo/${descriptor}`, "utf8")) ?? [];
      if ((Number.parseInt(flags, 8) & (constants.O_WRONLY | constants.O_RDWR)) !== 0) changeable.push(name);
    }
  }
  return changeable;
};

/** Has the machine taken, starts two copies, and tells what of all three is not as promised. */
const faultsOfCopies = async (): Promise<string[]> => {
  await expect.poll(async () => (await saidBy(original)).length, patience).toBeGreaterThan(3);
  const { snapshotId, taken } = await host.snapshot(original);
  const atSnapshot = (await saidBy(original)).length;
  const vm = host.originOf(snapshotId);
  const copies = [
    await host.start("vm", placeOf(4, ["copy-0"]), { vm }),
    await host.start("vm", placeOf(5, ["copy-1"]), { vm }),
  ];
  const faults: string[] = taken.sizeBytes > 0 && taken.engine === "kvm" ? [] : [`taken: ${JSON.stringify(taken)}`];
  const firsts: string[] = [];
  for (const copy of copies) {
    const said = (): Promise<Said[]> => saidBy(copy);
    await expect.poll(async () => (await said()).at(-1)?.who, patience).toBe(identityOf(copy));
    await expect.poll(async () => (await said()).at(-1)?.count, patience).toBeGreaterThan(atSnapshot + 5);
    const all = await said();
    // A word that was being said when it was taken may begin with the old name and end with the new one.
    const begins = all.findIndex(({ who }) => who === identityOf(copy));
    const [before, after] = [all.slice(0, Math.max(0, begins - 1)), all.slice(begins)];
    faults.push(
      ...all.filter(({ count }, at) => count !== at + 1).map(({ count }) => `${copy.name} counts ${count}`),
      ...before.filter(({ who }) => who !== identityOf(original)).map(({ who }) => `${copy.name} was ${who}`),
      ...after.filter(({ who }) => who !== identityOf(copy)).map(({ who }) => `${copy.name} is ${who}`),
    );
    const late = Math.abs((after.at(-1)?.seconds ?? 0) - Date.now() / 1000);
    if (late > 60) faults.push(`${copy.name}'s clock is off by ${late} s`);
    firsts.push(...after.map(({ random }) => random));
    const neighbour = "ping -c 1 -W 20 10.31.0.3";
    const reached = await host.exec(copy, neighbour);
    if (!reached.includes("1 packets received")) faults.push(`${copy.name} does not reach the original: ${reached}`);
    const hosts = await host.exec(copy, "cat /etc/hosts /etc/hostname");
    if (!hosts.includes(copy.name) || hosts.includes("original")) faults.push(`${copy.name} has in /etc: ${hosts}`);
  }
  for (const machine of [original, ...copies]) {
    const changeable = await changeableBy(machine, snapshotId);
    if (changeable.length > 0) faults.push(`${machine.name} could change the snapshot's ${changeable.join()}`);
  }
  const own = (await saidBy(original)).map(({ random }) => random);
  const drawn = [...own.slice(atSnapshot), ...firsts];
  if (new Set(drawn).size !== drawn.length) faults.push("two of them drew the same number");
  const inUse = await host.removeSnapshot(snapshotId).catch((error: Error) => error.message);
  if (!String(inUse).startsWith("SNAPSHOT_IN_USE")) faults.push(`removed while in use: ${String(inUse)}`);
  for (const copy of copies) await host.end(copy);
  await host.removeSnapshot(snapshotId);
  await expect.poll(async () => (await saidBy(original)).length, patience).toBeGreaterThan(own.length);
  return faults;
};

test("copies of a machine go on as others with our own monitor, and are refused by another engine", async () => {
  const outcome = await faultsOfCopies().catch((error: Error) => error.message);
  expect(outcome).toEqual(
    engine.standstill === null ? "SNAPSHOT_UNSUPPORTED: the engine qemu takes no machine to files; kvm does" : [],
  );
});
