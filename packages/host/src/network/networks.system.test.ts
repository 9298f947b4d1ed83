import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { AssignedNetwork, AssignedPort, InstanceId, NetworkId } from "@bulkhead/contracts";
import { Machine } from "../testing/machine.ts";
import { networkNames } from "./names.ts";
import type { Connection } from "./state.ts";

let machine: Machine;

const idOf = (kind: string, number: number): string => `0190b5c0-0000-7000-8000-00000000${kind}${number}`;
const networkId = (number: number): NetworkId => idOf("a00", number) as NetworkId;

const assigned = (number: number, member: number, ports: AssignedPort[] = []): AssignedNetwork => ({
  networkId: networkId(number),
  name: `net${number}`,
  mtu: 1500,
  internal: false,
  mac: `02:42:0a:0${number}:00:0${member}`,
  ipv4: { address: `10.${number}.0.${member}`, prefix: 24, gateway: `10.${number}.0.1` },
  ipv6: { address: `fd00:${number}::${member}`, prefix: 64, gateway: `fd00:${number}::1` },
  ports,
  names: [],
});
const connection = (number: number, member: number, ports: AssignedPort[] = []): Connection => ({
  instanceId: idOf("b0", number * 10 + member) as InstanceId,
  run: "1.1.0",
  network: assigned(number, member, ports),
  bandwidth: undefined,
});
const web = (hostPort: number): AssignedPort => ({ containerPort: 80, hostPort, protocol: "tcp", hostAddress: null });

const rules = (): Promise<string> => machine.say(["nft", "list", "ruleset"]);
const settings = (): Promise<string> =>
  machine.say(["sysctl", "-n", "net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"]);
const links = (): Promise<string> => machine.say(["ip", "-o", "link"]);
const files = async (kind: string): Promise<string[]> => readdir(join(machine.runDir, "network", kind));
const everything = async () => ({
  rules: await rules(),
  settings: await settings(),
  links: (await links()).split("\n").length,
  files: [await files("attachments"), await files("networks")],
});
const nothing = { rules: "", settings: "0\n0", links: 1, files: [[], []] };
const ping = (pid: number, address: string): Promise<string> =>
  machine.say(["busybox", "ping", "-c", "1", "-W", "2", address], pid);

beforeEach(async () => {
  machine = await Machine.open();
});
afterEach(() => machine[Symbol.asyncDispose]());

test("a host's two agents keep one network together, and it goes with the last of both's instances", async () => {
  const [containers, vms] = [await machine.agent("container"), await machine.agent("vm")];
  const [one, other] = [await machine.instance(), await machine.instance()];
  await Promise.all([
    containers.ask({ do: "connect", wanted: connection(1, 2), pid: one }),
    vms.ask({ do: "connect", wanted: connection(1, 3), pid: other }),
  ]);
  await ping(one, "10.1.0.3");
  await ping(other, "fd00:1::2");
  expect((await containers.view()).attachments.map(({ isolation }) => isolation).toSorted()).toEqual([
    "container",
    "vm",
  ]);
  // An agent that knows of no living runs forgets its own kind's only.
  await containers.ask({ do: "adopt", living: [] });
  expect((await vms.view()).attachments.map(({ isolation }) => isolation)).toEqual(["vm"]);
  await ping(other, "10.1.0.1");
  await machine.endInstances();
  await vms.ask({ do: "disconnect", gone: connection(1, 3) });
  await expect.poll(everything, { timeout: 30_000 }).toEqual(nothing);
});

test("a network outlives its last user by a moment, and the next user finds it as it was", async () => {
  const agent = await machine.agent("container");
  const { name: bridge } = networkNames(machine.hash).bridge(networkId(1));
  const connect = async (member: number): Promise<void> =>
    agent.ask({ do: "connect", wanted: connection(1, member), pid: await machine.instance() });
  await connect(2);
  await machine.say(["ip", "link", "set", bridge, "alias", "the first"]);
  await agent.ask({ do: "disconnect", gone: connection(1, 2) });
  await connect(3);
  expect(await links()).toContain("alias the first");
  // Long enough for the first one's removal to have come, had it not been called off.
  const since = performance.now();
  await expect.poll(() => performance.now() - since, { timeout: 30_000 }).toBeGreaterThan(1_500);
  expect(await links()).toContain("alias the first");
  await machine.endInstances();
  await agent.ask({ do: "disconnect", gone: connection(1, 3) });
  await expect.poll(everything, { timeout: 30_000 }).toEqual(nothing);
});

test("an agent that is closed removes the networks of nobody at once", async () => {
  const agent = await machine.agent("container");
  await agent.ask({ do: "connect", wanted: connection(1, 2), pid: await machine.instance() });
  await machine.endInstances();
  await agent.ask({ do: "disconnect", gone: connection(1, 2) });
  await agent.ask({ do: "close" });
  expect(await everything()).toEqual(nothing);
});

test("runs that have left are forgotten together, a moment later", async () => {
  const agent = await machine.agent("container");
  const pids = await Promise.all([machine.instance(), machine.instance(), machine.instance()]);
  await Promise.all(
    pids.map((pid, at) => agent.ask({ do: "connect", wanted: connection(1, at + 2, [web(8080 + at)]), pid })),
  );
  await machine.endInstances(pids.slice(0, 2));
  await Promise.all([2, 3].map((member) => agent.ask({ do: "leave", gone: connection(1, member) })));
  expect((await agent.view()).attachments.map(({ network }) => network.ipv4?.address)).toEqual(["10.1.0.4"]);
  await expect.poll(rules, { timeout: 30_000 }).not.toMatch(/10\.1\.0\.(2|3)\b/);
  expect(await rules()).toMatch(/tcp . 8082 : 10\.1\.0\.4 \. 80/);
  await expect.poll(() => files("attachments"), { timeout: 30_000 }).toHaveLength(1);
  await machine.endInstances();
  await agent.ask({ do: "leave", gone: connection(1, 4) });
  await expect.poll(everything, { timeout: 30_000 }).toEqual(nothing);
});

test("who has left keeps nobody from its address and port, also when its agent dies at that moment", async () => {
  const [containers, vms] = [await machine.agent("container"), await machine.agent("vm")];
  const [one, other] = [await machine.instance(), await machine.instance()];
  await containers.ask({ do: "connect", wanted: connection(1, 2, [web(8080)]), pid: one });
  await expect(containers.ask({ do: "leave and die", gone: connection(1, 2) })).rejects.toThrow("the agent ended");
  expect(await rules()).toMatch(/tcp . 8080 : 10\.1\.0\.2 \. 80/);
  expect(await files("attachments")).toEqual([expect.stringMatching(/^\.v/)]);
  await machine.endInstances([one]);
  const next: Connection = { ...connection(1, 2, [web(8080)]), instanceId: idOf("b0", 99) as InstanceId };
  await vms.ask({ do: "connect", wanted: next, pid: other });
  await ping(other, "10.1.0.1");
  const present = await rules();
  expect(present.match(/tcp . 8080 : 10\.1\.0\.2 \. 80/g)).toHaveLength(1);
  const [{ link } = { link: "" }] = (await vms.view()).attachments;
  expect(new Set(present.match(new RegExp(`"v${machine.hash}[^"*]+"`, "g")))).toEqual(new Set([`"${link}"`]));
  expect(await files("attachments")).toEqual([link]);
  await machine.endInstances();
  await vms.ask({ do: "disconnect", gone: next });
  await expect.poll(everything, { timeout: 30_000 }).toEqual(nothing);
});

test("who had left when its agent died is forgotten by the next one", async () => {
  const agent = await machine.agent("container");
  const pid = await machine.instance();
  await agent.ask({ do: "connect", wanted: connection(1, 2, [web(8080)]), pid });
  await expect(agent.ask({ do: "leave and die", gone: connection(1, 2) })).rejects.toThrow("the agent ended");
  await machine.endInstances();
  const next = await machine.agent("container");
  await next.ask({ do: "adopt", living: [] });
  expect(await everything()).toEqual(nothing);
});

test("of many who join at once, those who cannot are refused one by one and the others are connected", async () => {
  const agent = await machine.agent("container");
  const pids = await Promise.all(Array.from({ length: 4 }, () => machine.instance()));
  const [first = 0, second = 0, third = 0, fourth = 0] = pids;
  // The rules of one clash with what somebody else has put there: its published port leads elsewhere.
  await agent.ask({ do: "connect", wanted: connection(1, 2), pid: first });
  const table = `bulkhead_${machine.hash}`;
  await machine.say(["nft", "add", "element", "inet", table, "published4", "{ tcp . 8081 : 10.9.9.9 . 9 }"]);
  const outcomes = await Promise.allSettled([
    agent.ask({ do: "connect", wanted: connection(1, 3, [web(8080)]), pid: second }),
    agent.ask({ do: "connect", wanted: connection(1, 4, [web(8080)]), pid: third }),
    agent.ask({ do: "connect", wanted: connection(1, 5, [web(8081)]), pid: fourth }),
    agent.ask({ do: "connect", wanted: connection(1, 6), pid: 2 ** 22 + 1 }),
  ]);
  expect(outcomes.map((one) => (one.status === "fulfilled" ? "connected" : (one.reason as Error).message))).toEqual([
    "connected",
    "PORT_BUSY",
    // What was not ours is gone with the repair, so nothing stands in the way any more.
    "connected",
    "ENOENT",
  ]);
  await ping(second, "10.1.0.5");
  await expect(ping(third, "10.1.0.1")).rejects.toThrow("Command failed");
  const present = await rules();
  expect(present).toMatch(/tcp . 8081 : 10\.1\.0\.5 \. 80/);
  expect(present).not.toMatch(/10\.1\.0\.(4|6)\b|10\.9\.9\.9/);
  expect(await files("attachments")).toHaveLength(3);
});

test("whose link cannot be made leaves no rule and no record, and its address can be used at once", async () => {
  const agent = await machine.agent("container");
  const [one, taken] = [await machine.instance(), await machine.instance()];
  await machine.say(["ip", "link", "add", "eth0", "type", "bridge"], taken);
  const outcomes = await Promise.allSettled([
    agent.ask({ do: "connect", wanted: connection(1, 2), pid: one }),
    agent.ask({ do: "connect", wanted: connection(1, 3), pid: taken }),
  ]);
  expect(outcomes.map((each) => (each.status === "fulfilled" ? "connected" : (each.reason as Error).message))).toEqual([
    "connected",
    "EEXIST",
  ]);
  expect(await rules()).not.toMatch(/10\.1\.0\.3\b/);
  expect(await files("attachments")).toHaveLength(1);
  const again = await machine.instance();
  await agent.ask({ do: "connect", wanted: connection(1, 3), pid: again });
  await ping(again, "10.1.0.2");
});

/**
 * Connects three instances to a new network and disconnects them, with an agent that is killed after so long: what it
 * had done of it by then, all (and how long that took) or less.
 */
const changeUntilKilled = async (ms: number): Promise<{ doneInMs: number } | null> => {
  const agent = await machine.agent("container");
  const wanted = [2, 3, 4].map((member) => connection(2, member, [web(8000 + member)]));
  const pids = await Promise.all(wanted.map(() => machine.instance()));
  const change = async (): Promise<{ doneInMs: number }> => {
    const since = performance.now();
    await Promise.all(wanted.map((one, at) => agent.ask({ do: "connect", wanted: one, pid: pids[at] ?? 0 })));
    await Promise.all(wanted.map((gone) => agent.ask({ do: "disconnect", gone })));
    return { doneInMs: performance.now() - since };
  };
  const over = new AbortController();
  const changing = change()
    .catch(() => null)
    .finally(() => over.abort());
  await setTimeout(ms, undefined, { signal: over.signal }).catch(() => undefined);
  await agent[Symbol.asyncDispose]();
  await machine.endInstances(pids);
  return changing;
};

// A round begins two agents, which takes an emulated host half a minute.
const killedTimeoutMs = 900_000;

test(
  "an agent killed at any moment of a change leaves what either agent works on with and the next one puts right",
  { timeout: killedTimeoutMs },
  async () => {
    const vms = await machine.agent("vm");
    const stays = await machine.instance();
    await vms.ask({ do: "connect", wanted: connection(1, 9), pid: stays });
    const before = await everything();
    const killed = async (ms: number): Promise<{ doneInMs: number } | null> => {
      const done = await changeUntilKilled(ms);
      const other = await machine.instance();
      await vms.ask({ do: "connect", wanted: connection(2, 9), pid: other });
      await ping(other, "10.2.0.1");
      await machine.endInstances([other]);
      await vms.ask({ do: "disconnect", gone: connection(2, 9) });
      await using next = await machine.agent("container");
      await next.ask({ do: "adopt", living: [] });
      expect([ms, await everything()]).toEqual([ms, before]);
      return done;
    };
    const whole = await killed(60_000);
    expect(whole).not.toBeNull();
    // Every few milliseconds of it; where it takes long, at a dozen moments.
    const stepMs = Math.max(4, (whole?.doneInMs ?? 0) / 12);
    let rounds = 0;
    for (let done = false; !done; rounds += 1) {
      expect(rounds).toBeLessThan(60);
      done = (await killed(rounds * stepMs)) !== null;
    }
    expect(rounds).toBeGreaterThan(2);
    await ping(stays, "10.1.0.1");
  },
);

const share = { shareId: idOf("c00", 1), name: "pod" };
const connectionOf = (member: number): Connection => ({ ...connection(1, member), share });
const insideLinks = async (pid: number): Promise<string[]> =>
  (await machine.say(["ip", "-br", "link"], pid)).split("\n").map((line) => line.split(/[ @]/)[0] ?? "");

test("a share's namespace is connected by one run at a time, of those who come at once too", async () => {
  const [agent, pid] = [await machine.agent("container"), await machine.instance()];
  const connect = (member: number) => agent.ask({ do: "connect", wanted: connectionOf(member), pid });
  const results = await Promise.allSettled([2, 3, 4].map(connect));
  expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
  expect(results.find(({ status }) => status === "rejected")).toMatchObject({ reason: new Error("STATE_CONFLICT") });
  expect(await files("attachments")).toHaveLength(1);
  const winner = 2 + results.findIndex(({ status }) => status === "fulfilled");
  // As soon as it has left another may come, while nobody has taken its link away yet.
  await agent.ask({ do: "leave", gone: connectionOf(winner) });
  await connect(5);
  await ping(pid, "10.1.0.1");
  expect(await machine.say(["ip", "-4", "-br", "addr", "show", "eth0"], pid)).toMatch(/10\.1\.0\.5\/24/);
  await agent.ask({ do: "disconnect", gone: connectionOf(5) });
  expect(await insideLinks(pid)).toEqual(["lo"]);
  await expect.poll(everything, { timeout: 30_000 }).toEqual(nothing);
});

test("the link of a share's namespace goes though the agent died before it could take it away", async () => {
  const [dying, pid] = [await machine.agent("container"), await machine.instance()];
  const other = await machine.instance();
  await dying.ask({ do: "connect", wanted: connectionOf(2), pid });
  await dying.ask({ do: "leave and die", gone: connectionOf(2) }).catch(() => undefined);
  expect(await insideLinks(pid)).toEqual(["lo", "eth0"]);
  // Whichever of the host's agents is the next.
  const vms = await machine.agent("vm");
  await vms.ask({ do: "connect", wanted: connection(1, 3), pid: other });
  expect(await insideLinks(pid)).toEqual(["lo"]);
  const next = await machine.agent("container");
  await next.ask({ do: "connect", wanted: connectionOf(2), pid });
  await next[Symbol.asyncDispose]();
  const last = await machine.agent("container");
  await last.ask({ do: "adopt", living: [] });
  expect(await insideLinks(pid)).toEqual(["lo"]);
  await vms.ask({ do: "disconnect", gone: connection(1, 3) });
  await expect.poll(everything, { timeout: 30_000 }).toEqual(nothing);
});
