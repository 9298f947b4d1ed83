import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import type { AssignedPort, Digest } from "@bulkhead/contracts";
import { busyboxImage, redisImage } from "@bulkhead/testkit/images";
import { NetworkHost, networkOf } from "./testing/network-host.ts";
import { Rig } from "./testing/rig.ts";

let rig: Rig;
let busybox: Digest;
let host: NetworkHost;

const one = { id: "0190b5c0-0000-7000-8000-0000000000a1", number: 21 };
const two = { id: "0190b5c0-0000-7000-8000-0000000000a2", number: 22 };
const closed = { id: "0190b5c0-0000-7000-8000-0000000000a3", number: 23, internal: true };

/** Answers HTTP with its own name on 80, by TCP and UDP echo beside it. */
const server = "mkdir -p /www && hostname > /www/index.html && exec httpd -f -p 80 -h /www";
const idle = "exec sleep 1000";
const port = (hostPort: number, rest: Partial<AssignedPort> = {}): AssignedPort => ({
  containerPort: 80,
  hostPort,
  protocol: "tcp",
  hostAddress: null,
  ...rest,
});
/** By hand: busybox's own client cannot stand addresses in a static program. */
const get = (address: string, number = 80): string =>
  `printf "GET / HTTP/1.0\r\n\r\n" | timeout 3 nc ${address} ${number} | tail -n 1`;
const answers = (address: string, number: number): Promise<string> => host.sh(get(address, number));

interface Flood {
  readonly answers: number;
  readonly elapsedMs: number;
  /** streams of the twenty that were closed at once */
  readonly refused: number;
}
/** Asks for `web` 5,000 times a second for three seconds, from one port, and opens twenty streams before. */
const floodProgram = `
const question = Buffer.from("123401000001000000000000" + "03" + "776562" + "00" + "00010001", "hex");
const streams = Array.from({ length: 20 }, () => require("node:net").connect(53, "10.21.0.1").on("error", () => {}));
// A stream that is let in is closed after five idle seconds, one that is not at once.
let refused = 0;
for (const stream of streams) {
  const asked = Date.now();
  stream.once("close", () => { refused += Date.now() - asked < 4500 ? 1 : 0; });
}
Promise.all(streams.map((s) => new Promise((go) => s.once("connect", go).once("close", go)))).then(() => {
  const socket = require("node:dgram").createSocket("udp4");
  const began = Date.now();
  let answers = 0, last = began;
  socket.on("message", () => { answers += 1; last = Date.now(); });
  const send = (left) => {
    if (left === 0) return end();
    for (let n = 0; n < 50; n += 1) socket.send(question, 53, "10.21.0.1");
    setTimeout(send, Math.max(0, began + (301 - left) * 10 - Date.now()), left - 1);
  };
  const end = () => {
    if (Date.now() - last < 500) return setTimeout(end, 50);
    console.log(JSON.stringify({ answers, elapsedMs: last - began, refused }));
    process.exit();
  };
  send(300);
});`;

beforeAll(async () => {
  rig = await Rig.open();
  busybox = await rig.image(await busyboxImage());
});
beforeEach(async () => {
  host = await NetworkHost.open(rig, busybox);
});
afterEach(async () => {
  await host[Symbol.asyncDispose]();
  await rig.reopen();
  await rig.clear();
  await rig.refuseLeaks();
});
afterAll(() => rig[Symbol.asyncDispose]());

test("two containers of a network reach each other by name, over IPv4 and IPv6", async () => {
  await host[Symbol.asyncDispose]();
  host = await NetworkHost.open(rig, await rig.image(await redisImage()));
  const serve = "exec redis-server --bind 0.0.0.0 :: --protected-mode no --port 6379 --save ''";
  const cache = await host.start(serve, networkOf(one, 2, { names: ["cache-0", "cache"] }));
  const ask = (name: string): string => `redis-cli -h ${name} echo ${name}`;
  const client = await host.start(
    `until ${ask("cache")}; do sleep 0.1; done; ${ask("cache-0")}; ${ask("10.21.0.2")}; ${ask("fd00:21::2")}; cat /etc/hosts`,
    networkOf(one, 3, { names: ["client"] }),
  );
  const output = await host.output(client);
  expect(output).toMatch(/^cache\ncache-0\n10\.21\.0\.2\nfd00:21::2\n/m);
  expect(output).toMatch(/10\.21\.0\.3\ttest-0\nfd00:21::3\ttest-0\n$/);
  await host.end(cache);
});

test("names are answered by UDP and TCP, to the network's own instances only, and unknown ones do not exist", async () => {
  const web = await host.start(idle, networkOf(one, 2, { names: ["web"] }));
  const other = await host.start(idle, networkOf(two, 2, { names: ["other"] }));
  const ask = (name: string, gateway = "10.21.0.1"): string => `timeout 3 nslookup ${name} ${gateway} 2>&1`;
  await expect.poll(() => host.inside(web, ask("web")), { timeout: 30_000 }).toMatch(/10\.21\.0\.2/);
  expect(await host.inside(web, ask("web"))).toMatch(/fd00:21::2/);
  expect(await host.inside(web, ask("other"))).toMatch(/NXDOMAIN|can't find/);
  expect(await host.inside(other, ask("other", "10.22.0.1"))).toMatch(/10\.22\.0\.2/);
  // The answer to web's own question, length first, comes by TCP too.
  const question =
    "\\000\\041\\022\\064\\001\\000\\000\\001\\000\\000\\000\\000\\000\\000\\003web\\000\\000\\001\\000\\001";
  const short = question.replace("\\041", "\\025");
  expect(await host.inside(web, `printf '${short}' | timeout 2 nc 10.21.0.1 53 | hexdump -C`)).toMatch(/0a 15 00/);
  // The host's own processes are not of the network.
  expect(await host.sh(ask("web"))).not.toMatch(/10\.21\.0\.2$/m);
});

test("a published port is reached from the host, from other networks and by the instance itself", async () => {
  const web = await host.start(server, networkOf(one, 2, { ports: [port(8080)] }));
  const near = await host.start(idle, networkOf(one, 3));
  const far = await host.start(idle, networkOf(two, 2));
  await expect.poll(() => answers("127.0.0.1", 8080), { timeout: 30_000 }).toBe("test-0");
  for (const where of ["10.21.0.1", "fd00:21::1", "10.22.0.1"]) {
    expect([where, await answers(where, 8080)]).toEqual([where, "test-0"]);
  }
  for (const from of [web, near]) {
    expect(await host.inside(from, get("10.21.0.1", 8080))).toBe("test-0");
    expect(await host.inside(from, get("fd00:21::1", 8080))).toBe("test-0");
  }
  expect(await host.inside(far, get("10.22.0.1", 8080))).toBe("test-0");
});

test("UDP is published as TCP is, and an address of the host can be chosen", async () => {
  await host.sh("ip addr add 10.99.0.1/32 dev lo; ip addr add 10.99.0.2/32 dev lo");
  const echo = await host.start(
    idle,
    networkOf(one, 2, { ports: [port(9090, { containerPort: 90, protocol: "udp" })] }),
  );
  await host.start(server, networkOf(one, 3, { ports: [port(8081, { hostAddress: "10.99.0.1" })] }));
  await using _udp = await host.udpEcho(echo, 90);
  for (const address of ["127.0.0.1", "10.21.0.1", "fd00:21::1"]) {
    expect([address, await host.udpAsk(address, 9090)]).toEqual([address, "hello"]);
  }
  await expect.poll(() => answers("10.99.0.1", 8081), { timeout: 30_000 }).toBe("test-0");
  expect(await answers("10.99.0.2", 8081)).not.toBe("test-0");
});

test("networks are apart, an internal one reaches nothing outside, and the host's own servers are out of reach", async () => {
  const web = await host.start(server, networkOf(one, 2));
  const other = await host.start(idle, networkOf(two, 2));
  const inner = await host.start(idle, networkOf(closed, 2));
  const outside = await host.start("exec sleep 1000");
  await expect.poll(() => host.inside(web, get("10.21.0.2")), { timeout: 30_000 }).toBe("test-0");
  expect(await host.inside(other, get("10.21.0.2"))).not.toMatch(/test-0/);
  expect(await host.inside(other, get("fd00:21::2"))).not.toMatch(/test-0/);
  expect(await host.inside(outside, get("10.21.0.2"))).not.toMatch(/test-0/);
  const reach = (address: string): string => `ping -c 1 -W 1 ${address} >/dev/null && echo reached || echo not`;
  await expect.poll(() => host.inside(inner, reach("10.23.0.1")), { timeout: 30_000 }).toBe("reached");
  // What is outside knows the host only, so it is reached by way of NAT or not at all.
  await host.uplink(outside, "192.0.2.1/24", "192.0.2.2/24");
  await using _caller = await host.callerAddress(outside, 80);
  const dial = "timeout 3 nc 192.0.2.2 80 </dev/null 2>&1";
  expect(await host.inside(web, dial)).toMatch(/192\.0\.2\.1$/);
  expect(await host.inside(inner, dial)).not.toMatch(/192\.0\.2/);
  expect(await host.inside(web, `timeout 2 nc 10.21.0.1 22 </dev/null; echo $?`)).not.toBe("0");
});

test("one who asks for names without end is answered as much as anybody may ask, and others as ever", async () => {
  const web = await host.start(idle, networkOf(one, 2, { names: ["web"] }));
  const bad = await host.start(idle, networkOf(one, 3, { names: ["bad"] }));
  const ask = "timeout 3 nslookup web 10.21.0.1 2>&1";
  await expect.poll(() => host.inside(bad, ask), { timeout: 30_000 }).toMatch(/10\.21\.0\.2/);
  const flood = host.inside(bad, `${process.execPath} -e '${floodProgram}'`);
  await expect.poll(() => host.inside(web, ask), { timeout: 30_000 }).toMatch(/10\.21\.0\.2/);
  const { answers, elapsedMs, refused } = JSON.parse(await flood) as Flood;
  // 1,000 packets a second after the first 2,000; a question of the poll above counts too.
  expect(answers).toBeLessThanOrEqual(2_000 + Math.ceil(elapsedMs));
  expect(answers).toBeGreaterThan(1_000);
  expect(refused).toBe(20 - 8);
  expect(await host.inside(web, ask)).toMatch(/10\.21\.0\.2/);
});

test("another's IP or MAC address is not let through, by ARP, IPv4 or IPv6", async () => {
  const victim = await host.start(idle, networkOf(one, 2));
  const bad = await host.start(idle, networkOf(one, 3));
  const reach = (address: string, from = ""): string =>
    `ping -c 1 -W 1 ${from === "" ? "" : `-I ${from}`} ${address} >/dev/null 2>&1 && echo reached || echo not`;
  await expect.poll(() => host.inside(bad, reach("10.21.0.2")), { timeout: 30_000 }).toBe("reached");
  expect(await host.inside(bad, `ip addr add 10.21.0.9/24 dev eth0; ${reach("10.21.0.2", "10.21.0.9")}`)).toBe("not");
  expect(
    await host.inside(
      bad,
      `echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_dad; ip addr add fd00:21::9/64 dev eth0; ${reach("fd00:21::2", "fd00:21::9")}`,
    ),
  ).toBe("not");
  const neighbour = (): Promise<string> => host.inside(victim, "ip neigh show 10.21.0.1");
  await expect.poll(() => host.inside(victim, reach("10.21.0.1")), { timeout: 30_000 }).toBe("reached");
  const before = /lladdr (\S+)/.exec(await neighbour())?.[1];
  expect(before).toBeDefined();
  // It says to be the gateway.
  await host.inside(
    bad,
    "ip addr add 10.21.0.1/32 dev eth0; arping -c 3 -A -I eth0 10.21.0.1; arping -c 2 -U -I eth0 10.21.0.1",
  );
  expect(/lladdr (\S+)/.exec(await neighbour())?.[1]).toBe(before);
  await host.inside(bad, "ip addr del 10.21.0.1/32 dev eth0");
  const own = networkOf(one, 3).mac;
  expect(await host.inside(bad, `ip link set eth0 address 02:42:0a:15:00:99; ${reach("10.21.0.2")}`)).toBe("not");
  expect(
    await host.inside(
      bad,
      `ip link set eth0 address ${own}; ip neigh flush dev eth0 >/dev/null 2>&1; ${reach("10.21.0.2")}`,
    ),
  ).toBe("reached");
});

test("bandwidth is limited in both directions", async () => {
  const megabits = 8;
  const bytes = 2 ** 20;
  const file = `head -c ${bytes} /dev/zero > /tmp/data`;
  const limit = { bandwidth: { ingressBitsPerSec: megabits * 1e6, egressBitsPerSec: megabits * 1e6 } };
  const slow = await host.start(
    `mkdir /www; ${file}; cp /tmp/data /www/data; exec httpd -f -p 80 -h /www`,
    networkOf(one, 2),
    limit,
  );
  const fast = await host.start(
    `mkdir /www; ${file}; cp /tmp/data /www/data; exec httpd -f -p 80 -h /www`,
    networkOf(one, 3),
  );
  const fetched = async (from: typeof slow, address: string): Promise<number> => {
    await expect
      .poll(() => host.inside(from, `timeout 1 nc ${address} 80 </dev/null && echo up`), { timeout: 30_000 })
      .toBe("up");
    const started = performance.now();
    const size = await host.inside(
      from,
      `printf "GET /data HTTP/1.0\\r\\n\\r\\n" | timeout 15 nc ${address} 80 | tail -c ${bytes} | wc -c`,
    );
    expect(Number(size)).toBe(bytes);
    return performance.now() - started;
  };
  // The bucket lets 64 KiB through at once; the rest takes its time, and cannot take less on any machine.
  const leastMs = ((bytes - 2 * 65_536) * 8) / (megabits * 1e3);
  expect(await fetched(fast, "10.21.0.2")).toBeGreaterThan(leastMs);
  expect(await fetched(slow, "10.21.0.3")).toBeGreaterThan(leastMs);
});

test("a killed agent takes no connection with it, and the next one repairs the rules", async () => {
  const web = await host.start(
    "nc -l -p 80 -e sh -c 'while read line; do echo got $line; done'",
    networkOf(one, 2, { ports: [port(8080)] }),
  );
  await host.start(idle, networkOf(one, 3));
  await expect.poll(() => host.inside(web, "netstat -tln"), { timeout: 30_000 }).toMatch(/:80 /);
  const talking = host.sh("(echo a; sleep 3; echo b; sleep 0.5) | timeout 8 nc 127.0.0.1 8080");
  await host.killAgent();
  await host.sh("true");
  await host.startAgent();
  expect(await host.adopt()).toContain(web.instanceId);
  expect(await talking).toBe("got a\ngot b");
  const tables = (): Promise<string> => host.sh("cat /proc/net/dev");
  expect(await tables()).toMatch(/b[0-9a-f]{14}:/);
});

test("the last user takes bridge, rules and settings along", async () => {
  const state = "cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding; ls /proc/sys/net/ipv4/conf";
  const before = await host.sh(state);
  const first = await host.start(idle, networkOf(one, 2, { ports: [port(8080)] }));
  const second = await host.start(idle, networkOf(one, 3));
  expect(await host.sh(state)).not.toBe(before);
  await host.end(first);
  expect(await host.sh("ls /proc/sys/net/ipv4/conf")).toMatch(/^b[0-9a-f]{14}$/m);
  await host.end(second);
  await expect.poll(() => host.sh(state), { timeout: 30_000 }).toBe(before);
});

test("a host that is given up keeps nothing of its networks, whoever still runs in them", async () => {
  const state = "cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding; ls /proc/sys/net/ipv4/conf";
  const before = await host.sh(state);
  const web = await host.start(idle, networkOf(one, 2, { ports: [port(8080)] }));
  await host.start(idle, networkOf(two, 2));
  const attachments = join(rig.paths.run, "network", "attachments");
  await writeFile(join(attachments, `v${rig.paths.hash}broken`), "{");
  expect(await readdir(attachments)).toHaveLength(3);
  expect(await host.ruleset()).toContain(`bulkhead_${rig.paths.hash}`);
  await host.killAgent();
  await host.startAgent();
  await host.endNetworks();
  const nothing = { state: before, rules: "", attachments: [] };
  const now = async () => ({
    state: await host.sh(state),
    rules: await host.ruleset(),
    attachments: await readdir(attachments),
  });
  expect(await now()).toEqual(nothing);
  expect(await host.inside(web, "ip link show eth0")).not.toMatch(/UP/);
  await host.endNetworks();
  expect(await now()).toEqual(nothing);
});

test("a taken port, and the host's network where it is not allowed, are refusals that leave nothing", async () => {
  const taken = host.sh("timeout 3 nc -l -p 8080");
  await expect.poll(() => host.sh("netstat -tln"), { timeout: 30_000 }).toMatch(/:8080 /);
  await expect(host.start(idle, networkOf(one, 2, { ports: [port(8080)] }))).rejects.toThrow(
    /^PortBusy: .*tcp port 8080/s,
  );
  await expect(host.start(idle, undefined, { network: "host" })).rejects.toThrow(/^NetworkNotAllowed/);
  await expect(host.start(idle, undefined, { network: "gone" })).rejects.toThrow(/^NetworkFailed/);
  await expect(host.start("exec /nowhere", networkOf(one, 2), { command: ["/nowhere"] })).rejects.toThrow(
    /^EntrypointNotFound/,
  );
  await expect.poll(() => host.sh("ls /proc/sys/net/ipv4/conf"), { timeout: 30_000 }).not.toMatch(/^b[0-9a-f]{14}$/m);
  await taken;
});

test("an allowed instance has the host's network, and cannot change it", async () => {
  await using open = await NetworkHost.open(rig, busybox, { hostNetwork: true });
  await open.sh("ip addr add 10.98.0.1/32 dev lo");
  const shared = await open.start(
    "ip -4 addr show lo; ls -A /sys; ip link set lo mtu 1400 || echo refused",
    undefined,
    {
      network: "host",
    },
  );
  const output = await open.output(shared);
  expect(output).toMatch(/10\.98\.0\.1/);
  expect(output).toMatch(/refused/);
});
