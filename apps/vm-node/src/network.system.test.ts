import { rm } from "node:fs/promises";
import { busyboxImage } from "@bulkhead/testkit/images";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import type { Assignment } from "@bulkhead/contracts";
import { sharedParts } from "./testing/machine-rig.ts";
import { MixedHost, placeOf } from "./testing/mixed-host.ts";

const shared = await sharedParts(await busyboxImage());
let host: MixedHost;
let box: Assignment;
let machine: Assignment;

vi.setConfig({ testTimeout: 180_000 });
const patience = { timeout: 60_000, interval: 200 };
const page = "mkdir -p /www && hostname > /www/index.html && httpd -p 80 -h /www";
/** By hand: busybox's own client cannot stand addresses in a static program. */
const get = (address: string, port = 80): string =>
  `printf "GET / HTTP/1.0\\r\\n\\r\\n" | timeout 5 nc ${address} ${port} | tail -n 1`;
const ports = (["tcp", "udp"] as const).map((protocol) => ({
  containerPort: protocol === "tcp" ? 80 : 90,
  hostPort: protocol === "tcp" ? 8080 : 9090,
  protocol,
  hostAddress: null,
}));

beforeAll(async () => {
  host = await MixedHost.open(shared);
  box = await host.start("container", placeOf(2, ["box"]));
  machine = await host.start("vm", placeOf(3, ["machine", "machine-0"], ports));
  await host.exec(box, page);
  await host.exec(machine, page);
}, 300_000);
afterAll(async () => {
  await host[Symbol.asyncDispose]();
  await rm(shared.directory, { recursive: true, force: true });
}, 120_000);

test("a machine's card has the addresses, routes, size of packets and name server that a container's link has", async () => {
  const script = "ip -o addr show eth0; ip route; ip -6 route show default; cat /etc/resolv.conf /etc/hosts";
  const said = await host.exec(machine, `${script}; ip link show eth0`);
  for (const expected of ["10.31.0.3/24", "fd00:31::3/64", "default via 10.31.0.1", "default via fd00:31::1"]) {
    expect(said).toContain(expected);
  }
  expect(said).toMatch(/nameserver 10\.31\.0\.1\nnameserver fd00:31::1/);
  expect(said).toMatch(/10\.31\.0\.3\tmachine/);
  expect(said).toMatch(/mtu 1400/);
  expect(said).toContain("fe80::42:aff:fe1f:3/64");
});

test("a container and a machine of one network talk both ways, by address and by name", async () => {
  for (const address of ["10.31.0.3", "fd00:31::3"]) {
    await expect.poll(() => host.exec(box, get(address)), patience).toBe("machine");
  }
  for (const address of ["10.31.0.2", "fd00:31::2"]) {
    await expect.poll(() => host.exec(machine, get(address)), patience).toBe("box");
  }
  expect(await host.exec(box, "ping -c 1 -W 5 10.31.0.3")).toMatch(/1 packets received/);
  expect(await host.exec(machine, "ping -c 1 -W 5 10.31.0.2")).toMatch(/1 packets received/);
  await expect.poll(() => host.exec(box, "nslookup machine-0 10.31.0.1"), patience).toMatch(/10\.31\.0\.3$/m);
  await expect.poll(() => host.exec(machine, "nslookup box 10.31.0.1"), patience).toMatch(/10\.31\.0\.2$/m);
  // More than one segment, whose checksums only the host makes.
  await host.exec(box, "head -c 3000000 /dev/zero > /www/data");
  const fetched = 'printf "GET /data HTTP/1.0\\r\\n\\r\\n" | nc 10.31.0.2 80 | tail -c 3000000 | wc -c';
  expect(await host.exec(machine, fetched)).toBe("3000000");
});

test("a port that a machine publishes answers on the host and inside, by TCP and UDP", async () => {
  for (const address of ["127.0.0.1", "10.31.0.1"]) {
    await expect.poll(() => host.sh(`busybox sh -c '${get(address, 8080)}'`), patience).toBe("machine");
  }
  expect(await host.exec(box, get("10.31.0.1", 8080))).toBe("machine");
  // Nobody listens there, which the machine's kernel says and counts: busybox has no server of datagrams.
  const unheard = async (): Promise<number> =>
    Number(await host.exec(machine, "awk '/^Udp: [0-9]/ {print $3}' /proc/net/snmp"));
  const before = await unheard();
  await expect.poll(() => host.datagram("10.31.0.1", 9090), patience).toBe("ECONNREFUSED");
  expect(await unheard()).toBeGreaterThan(before);
});

test("a machine sends from its own addresses only, whatever its kernel says", async () => {
  const reach = "ping -c 1 -W 2 10.31.0.2 | grep -c ' 0% packet loss'";
  const spoofed = "ip addr add 10.31.0.77/24 dev eth0; ping -c 1 -W 2 -I 10.31.0.77 10.31.0.2";
  expect(await host.exec(machine, spoofed)).toMatch(/100% packet loss/);
  expect(await host.exec(machine, `ip link set eth0 address 02:42:0a:1f:00:09; ${reach}`)).toBe("0");
  await host.exec(machine, `ip addr del 10.31.0.77/24 dev eth0; ip link set eth0 address ${placeOf(3, []).mac}`);
  await expect.poll(() => host.exec(machine, reach), patience).toBe("1");
});

test("agents that are killed take no machine from its network, and the next ones repair the rules", async () => {
  const links = await host.links();
  await host.killAgents();
  expect(await host.links()).toEqual(links);
  await host.sh("nft flush ruleset");
  await host.startAgents();
  expect(await host.adopt()).toBe([box.instanceId, machine.instanceId].toSorted().join(" "));
  await expect.poll(() => host.exec(box, get("10.31.0.3")), patience).toBe("machine");
  await expect.poll(() => host.sh(`busybox sh -c '${get("127.0.0.1", 8080)}'`), patience).toBe("machine");
  await expect.poll(() => host.exec(machine, "nslookup box 10.31.0.1"), patience).toMatch(/10\.31\.0\.2$/m);
});

test("what a machine sends is limited on the host, and what it receives", async () => {
  await host.end(machine);
  const limit = { ingressBitsPerSec: 4_000_000, egressBitsPerSec: 4_000_000 };
  machine = await host.start("vm", placeOf(3, ["machine"]), { bandwidth: limit });
  expect(await host.sh("nft list ruleset")).toContain("limit rate over 500000 bytes/second");
  await host.exec(machine, `${page}; head -c 1572864 /dev/zero > /www/data`);
  const seconds = async (from: Assignment, address: string): Promise<number> => {
    const begun = performance.now();
    const get = `printf "GET /data HTTP/1.0\\r\\n\\r\\n" | timeout 60 nc ${address} 80 | tail -c 1572864 | wc -c`;
    expect(await host.exec(from, get)).toBe("1572864");
    return (performance.now() - begun) / 1000;
  };
  // A second's worth and a segment go through at once; the rest takes its time, and cannot take less on any machine.
  const least = (1_572_864 - 500_000 - 2 * 65_536) / 500_000;
  await host.exec(box, "head -c 1572864 /dev/zero > /www/data");
  expect(await seconds(box, "10.31.0.3")).toBeGreaterThan(least);
  expect(await seconds(machine, "10.31.0.2")).toBeGreaterThan(least);
}, 300_000);

test("the last user takes card, bridge and rules along, however it ends", async () => {
  await host.end(box);
  // A link ends with its namespace, which the kernel takes apart when it comes to it.
  await expect.poll(() => host.links(), patience).toHaveLength(2);
  await host.kill(machine);
  await host.end(machine);
  await expect.poll(() => host.links(), patience).toEqual([]);
  await expect.poll(() => host.sh("nft list ruleset"), patience).toBe("");
});
