import { randomBytes } from "node:crypto";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { uuidV7, type AssignedNamespaces, type Assignment, type Digest } from "@bulkhead/contracts";
import { busyboxImage } from "@bulkhead/testkit/images";
import { NetworkHost, networkOf } from "./testing/network-host.ts";
import { Rig } from "./testing/rig.ts";

let rig: Rig;
let busybox: Digest;
let host: NetworkHost;
let pod: AssignedNamespaces;

const backend = { id: "0190b5c0-0000-7000-8000-0000000000b1", number: 31 };
const address = "10.31.0.2";
/** The server's place: the port that is published is its helper's. */
const place = (member = 2) =>
  networkOf(backend, member, {
    names: [`server-${member}`, "server"],
    ports: [{ containerPort: 81, hostPort: 8080 + member, protocol: "tcp", hostAddress: null }],
  });
const idle = "exec sleep 1000";
const serve = (number: number, text: string): string =>
  `mkdir -p /www && echo ${text} > /www/index.html && exec httpd -f -p ${number} -h /www`;
/** By hand: busybox's own client cannot stand addresses in a static program. */
const get = (where: string, number: number): string =>
  `printf "GET / HTTP/1.0\r\n\r\n" | timeout 3 nc ${where} ${number} | tail -n 1`;

const newShare = (): AssignedNamespaces => ({
  shareId: uuidV7(Date.now(), randomBytes(10)),
  name: "pod",
  namespaces: ["network"],
});
/** Its helper, when it serves. */
const helperIn = async (share: AssignedNamespaces): Promise<Assignment> => {
  const helper = await host.startIn(share, serve(81, "helper"));
  await expect.poll(() => host.inside(helper, get("127.0.0.1", 81)), { timeout: 30_000 }).toBe("helper");
  return helper;
};
const linksOf = async (member: Assignment): Promise<string[]> =>
  (await host.inside(member, 'ip -o link | cut -d: -f2 | cut -d@ -f1 | tr -d " "'))
    .split("\n")
    .filter((name) => name !== "");
/** Links of the host that lead to instances. */
const portsOfHost = async (): Promise<number> =>
  (await host.sh("cat /proc/net/dev")).split("\n").filter((line) => line.trim().startsWith("v")).length;
const attachments = (): Promise<string[]> => readdir(join(rig.paths.run, "network", "attachments"));

beforeAll(async () => {
  rig = await Rig.open();
  busybox = await rig.image(await busyboxImage());
});
beforeEach(async () => {
  host = await NetworkHost.open(rig, busybox);
  pod = newShare();
});
afterEach(async () => {
  await host[Symbol.asyncDispose]();
  await rig.reopen();
  await rig.clear();
  await rig.refuseLeaks();
});
afterAll(() => rig[Symbol.asyncDispose]());

test("who names a network connects the namespace for all in it, from its start to its end", async () => {
  const other = await host.start(serve(80, "other"), networkOf(backend, 5, { names: ["other"] }));
  const helper = await helperIn(pod);
  // Before anybody has connected it there is loopback only; a helper that waits needs no new start.
  expect(await host.output(await host.startIn(pod, "cat /etc/resolv.conf; ls /sys/class/net"))).toMatch(
    /^# no name server.*\nlo\n$/,
  );
  const reach = `until nslookup other 2>/dev/null | grep -q 10.31.0.5; do sleep 0.1; done; ${get("10.31.0.5", 80)}`;
  const waiting = await host.startIn(pod, reach);

  const server = await host.startIn(pod, serve(80, "server"), place());
  expect(await host.output(waiting)).toBe("other\n");
  for (const [at, text] of [[80, "server"] as const, [81, "helper"] as const]) {
    await expect.poll(() => host.inside(other, get(address, at)), { timeout: 30_000 }).toBe(text);
    expect(await host.inside(other, get("fd00:31::2", at))).toBe(text);
  }
  expect(await host.sh(get("127.0.0.1", 8082))).toBe("helper");
  expect(await host.inside(helper, get("127.0.0.1", 80))).toBe("server");
  // What a helper may send from is what the server may.
  const ping = (from: string): string => `ping -c 1 -W 1 -I ${from} 10.31.0.5 >/dev/null 2>&1 && echo yes || echo no`;
  expect(await host.inside(helper, ping(address))).toBe("yes");
  expect(await host.inside(helper, `ip addr add 10.31.0.9/24 dev eth0; ${ping("10.31.0.9")}`)).toBe("no");
  for (const member of [server, helper]) {
    const { contract, view } = await host.look(member);
    expect(contract).toEqual({ held: true, violations: [] });
    expect(view?.namespaces.find(({ type }) => type === "net")).toMatchObject({
      share: "pod",
      connected: { instanceId: server.instanceId, network: "net31", addresses: [address, "fd00:31::2"] },
    });
  }

  await host.end(server, { remove: false });
  await expect.poll(() => linksOf(helper), { timeout: 30_000 }).toEqual(["lo"]);
  await expect.poll(attachments, { timeout: 30_000 }).toHaveLength(1);
  expect(await portsOfHost()).toBe(1);
  expect(await host.inside(helper, get("127.0.0.1", 81))).toBe("helper");
  expect(await host.inside(other, get(address, 81))).not.toBe("helper");
  expect(await host.output(await host.startIn(pod, "cat /etc/resolv.conf"))).toMatch(/^# no name server/);
  const { contract, view } = await host.look(helper);
  expect(contract).toEqual({ held: true, violations: [] });
  expect(view?.namespaces.find(({ type }) => type === "net")).not.toHaveProperty("connected");

  // The next run of the same instance comes while the last one's link may still be there.
  await host.startAs(server, 1);
  await host.end(server, { remove: false });
  await host.startAs(server, 2);
  await expect.poll(() => host.inside(other, get(address, 80)), { timeout: 30_000 }).toBe("server");
  expect(await host.inside(other, get(address, 81))).toBe("helper");
  expect(await host.output(await host.startIn(pod, reach))).toBe("other\n");
  expect([await portsOfHost(), await attachments()]).toEqual([2, expect.objectContaining({ length: 2 })]);
});

test("a second member that names a network is refused until the first has ended", async () => {
  const first = await host.startIn(pod, idle, place(2));
  await expect(host.startIn(pod, idle, place(3))).rejects.toThrow(
    /^NetworkFailed: .*Instance server-2 has connected the network namespace of share pod to network net31, and it can be connected once: start this instance when that one has ended, or without a network\./s,
  );
  expect([await portsOfHost(), await attachments()]).toEqual([1, expect.objectContaining({ length: 1 })]);
  // Another share has a namespace of its own.
  await host.startIn(newShare(), idle, place(4));
  await host.end(first);
  const second = await host.startIn(pod, serve(81, "second"), place(3));
  await expect.poll(() => host.sh(get("10.31.0.3", 81)), { timeout: 30_000 }).toBe("second");
  expect(await linksOf(second)).toEqual(expect.arrayContaining(["lo", "eth0"]));
});

test("a start that fails after it was connected takes the link along", async () => {
  const helper = await helperIn(pod);
  const whole = await host.startIn(pod, idle, place());
  await host.end(whole);
  const broken = { ...whole, spec: { ...whole.spec, command: ["/nowhere"] } };
  await expect(host.startAs(broken)).rejects.toThrow(/^EntrypointNotFound/);
  expect([await linksOf(helper), await portsOfHost(), await attachments()]).toEqual([["lo"], 0, []]);
});

test("an agent that starts again finds a connected namespace as it was, or takes away what nobody has any more", async () => {
  // With somebody else in the network there is more to do than to take everything away.
  await host.start(idle, networkOf(backend, 5));
  const helper = await helperIn(pod);
  const server = await host.startIn(pod, idle, place());
  await host.killAgent();
  await host.startAgent();
  expect(await host.adopt()).toEqual(expect.arrayContaining([server.instanceId, helper.instanceId]));
  expect(await host.sh(get(address, 81))).toBe("helper");
  await expect(host.startIn(pod, idle, place(3))).rejects.toThrow(/^NetworkFailed/);
  expect((await host.look(server)).contract).toEqual({ held: true, violations: [] });

  await host.killAgent();
  await host.kill(server);
  await host.startAgent();
  // Its shim writes down the end at its leisure; until then it is one that runs.
  await expect
    .poll(
      async () => {
        await host.adopt();
        return linksOf(helper);
      },
      { timeout: 30_000 },
    )
    .toEqual(["lo"]);
  expect([await portsOfHost(), await attachments()]).toEqual([1, expect.objectContaining({ length: 1 })]);
  expect(await host.output(await host.startIn(pod, "cat /etc/resolv.conf"))).toMatch(/^# no name server/);
  await host.startIn(pod, idle, place(3));
  expect(await host.sh(get("10.31.0.3", 81))).toBe("helper");
});

test("when the holder is killed, the link stays with its server, and whoever connects next is in the new namespace", async () => {
  const old = await helperIn(pod);
  const server = await host.startIn(pod, idle, place());
  const holder = rig.runtime.shares.namespaces.find(pod.shareId);
  process.kill(holder?.pid ?? 0, "SIGKILL");
  await expect.poll(() => rig.runtime.shares.namespaces.find(pod.shareId)).toBeNull();
  expect((await host.look(server)).contract?.held).toBe(false);
  expect(await host.sh(get(address, 81))).toBe("helper");
  const fresh = await helperIn(pod);
  expect(await linksOf(fresh)).toEqual(["lo"]);
  expect(await host.output(await host.startIn(pod, "cat /etc/resolv.conf"))).toMatch(/^# no name server/);
  await host.end(server, { remove: false });
  await host.startAs(server, 1);
  expect(await linksOf(old)).toEqual(["lo"]);
  expect(await host.sh(get(address, 81))).toBe("helper");
  expect(await host.output(await host.startIn(pod, "cat /etc/resolv.conf"))).toMatch(/^nameserver 10\.31\.0\.1\n/);
  expect((await host.look(fresh)).contract).toEqual({ held: true, violations: [] });
  expect((await host.look(old)).contract?.held).toBe(false);
});
