import { createSocket } from "node:dgram";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { connect, createServer, type AddressInfo } from "node:net";
import { promisify } from "node:util";
import { execFile } from "node:child_process";
import type { HostId, Instance, WorkloadSpec } from "@bulkhead/contracts";
import { hostPaths } from "@bulkhead/host";
import { busyboxImage } from "@bulkhead/testkit/images";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startFleet, type Fleet } from "../fleet.ts";
import { bitsPerSecond, Dialogue, NetworkPeer } from "../network-peer.ts";

let fleet: Fleet;
let hash: string;
let settingsBefore: string[];

const run = promisify(execFile);
const settings = (): string[] =>
  ["ipv4/ip_forward", "ipv6/conf/all/forwarding"].map((name) => readFileSync(`/proc/sys/net/${name}`, "utf8").trim());
const rules = async (): Promise<string> => (await run("nft", ["list", "table", "inet", `bulkhead_${hash}`])).stdout;
const links = (): string[] =>
  readdirSync("/sys/class/net").filter((name) => name.startsWith(`b${hash}`) || name.startsWith(`v${hash}`));

/** Of 192.0.2.0/24 and beside (RFC 5737): no machine's own network has them. */
const lan = { name: "lan", ipv4Range: "198.51.100.0/26", ipv6Range: "fd7a:b0c5:1::/64" };
const far = { name: "far", ipv4Range: "198.51.100.64/26", ipv6Range: "fd7a:b0c5:2::/64" };
const gateways = ["198.51.100.1", "fd7a:b0c5:1::1"];

const spec = (script: string, more: Partial<WorkloadSpec> = {}): WorkloadSpec => ({
  image: "busybox",
  command: ["sh", "-c", script],
  resources: { cpuMillis: 50, memoryBytes: 32 * 2 ** 20 },
  ...more,
});
const idle = "exec sleep 1000";
const page = "mkdir /www && hostname > /www/index.html && exec httpd -f -p 80 -h /www";
/** By hand: busybox's own client cannot stand addresses in a static program. */
const get = (address: string, port = 80): string =>
  `printf "GET / HTTP/1.0\\r\\n\\r\\n" | timeout 3 nc ${address} ${port} | tail -n 1`;
const sh = async (name: string, script: string): Promise<string> =>
  (await fleet.exec(name, ["sh", "-c", script])).stdout.trim();
/** The same with the host's programs and only the network of a process, whoever's it is. */
const within = async (pid: number, script: string): Promise<string> =>
  (await run("nsenter", [`--net=/proc/${pid}/ns/net`, "busybox", "sh", "-c", `${script}; true`])).stdout.trim();
const post = (path: string, body: object, project = "default") =>
  fleet.http("POST", path, { body, headers: { "bulkhead-project": project } });
const rejectionsOf = async (name: string): Promise<string[]> =>
  (await fleet.instance(name)).rejections.map(({ reason }) => reason);
const addressOf = (instance: Instance): string => instance.network?.ipv4?.address ?? "";

/** What an HTTP server says to this process. */
const fetched = async (host: string, port: number): Promise<string> => {
  const socket = connect({ host, port, timeout: 5_000 });
  socket.on("timeout", () => socket.destroy());
  socket.end("GET / HTTP/1.0\r\n\r\n");
  let text = "";
  for await (const chunk of socket) text += String(chunk);
  return text.trim().split("\n").at(-1) ?? "";
};

/** What answers a datagram; asked again until it does, as UDP may lose one. */
const asked = async (host: string, port: number): Promise<string> => {
  const socket = createSocket(host.includes(":") ? "udp6" : "udp4");
  const repeat = setInterval(() => socket.send("word", port, host), 100);
  try {
    const [answer] = (await once(socket, "message", { signal: AbortSignal.timeout(5_000) })) as [Buffer];
    return String(answer);
  } finally {
    clearInterval(repeat);
    socket.close();
  }
};

beforeAll(async () => {
  settingsBefore = settings();
  fleet = await startFleet();
  await fleet.importImage("busybox", await busyboxImage());
  const [host] = await fleet.hosts();
  ({ hash } = hostPaths(fleet.stateDirectory, "/run", host?.id as HostId));
});
afterAll(() => fleet[Symbol.asyncDispose]());

test("networks are made by the API and by the command", async () => {
  expect((await post("/v1/networks", lan)).status).toBe(201);
  const made = await fleet.cli("networks", "create", far.name, "--ipv4", far.ipv4Range, "--ipv6", far.ipv6Range);
  expect(made).toMatchObject({ code: 0 });
  expect((await fleet.cli("networks")).stdout).toMatch(/^lan +198\.51\.100\.0\/26 .*\nfar +198\.51\.100\.64\/26 /m);
});

test("two instances of a project find each other by name and talk by IPv4 and IPv6", async () => {
  const web = await fleet.run("web", spec(page, { network: "lan", ports: [{ containerPort: 80, hostPort: 20_080 }] }));
  await fleet.run("client", spec(idle, { network: "lan" }));
  const names = await sh("client-0", `nslookup web ${gateways[0]}; nslookup web-0 ${gateways[0]}`);
  expect(names.match(/198\.51\.100\.2$/gm)).toHaveLength(2);
  expect(names.match(/fd7a:b0c5:1::2$/gm)).toHaveLength(2);
  expect(addressOf(web)).toBe("198.51.100.2");
  for (const address of ["198.51.100.2", "fd7a:b0c5:1::2"]) {
    await expect.poll(() => sh("client-0", get(address)), { timeout: 10_000 }).toBe("web-0");
  }
});

test("a published port answers from the host, from loopback and from inside, by TCP and UDP, IPv4 and IPv6", async () => {
  const ports = [{ containerPort: 90, hostPort: 20_090, protocol: "udp" as const }];
  await fleet.run("datagrams", spec(idle, { network: "lan", ports }));
  await using _server = await NetworkPeer.serve(await fleet.pidOf("datagrams-0"), "datagrams", 90);
  for (const address of ["127.0.0.1", ...gateways]) {
    expect([address, await fetched(address, 20_080)]).toEqual([address, "web-0"]);
    expect([address, await asked(address, 20_090)]).toEqual([address, "word"]);
  }
  for (const address of gateways) {
    expect([address, await sh("web-0", get(address, 20_080))]).toEqual([address, "web-0"]);
    expect([address, await sh("client-0", get(address, 20_080))]).toEqual([address, "web-0"]);
  }
  await fleet.remove("datagrams");
});

test("another network, of this project or another, does not reach it", async () => {
  await fleet.run("near", spec(idle, { network: "far" }));
  const headers = { "bulkhead-project": "other" };
  const image = {
    raw: new Uint8Array(readFileSync(await busyboxImage())),
    headers: { ...headers, "content-type": "application/x-tar" },
  };
  expect((await fleet.http("POST", "/v1/images?name=busybox", image)).status).toBe(201);
  const theirs = { name: "theirs", ipv4Range: "198.51.100.128/26", ipv6Range: "fd7a:b0c5:3::/64" };
  expect((await post("/v1/networks", theirs, "other")).status).toBe(201);
  expect((await fleet.http("GET", "/v1/networks/lan", { headers })).status).toBe(404);
  const spy = (network: string) => post("/v1/workloads", { name: "spy", spec: spec(idle, { network }) }, "other");
  expect((await spy("lan")).body).toMatchObject({ code: "NETWORK_UNKNOWN" });
  expect((await spy("theirs")).status).toBe(202);
  const spying = await fleet.http("GET", "/v1/instances/spy-0/wait?for=running&timeoutMs=20000", { headers });
  expect(spying.status).toBe(200);
  const outsiders = [
    [await fleet.pidOf("near-0"), "198.51.100.65"],
    [fleet.kernel.pidOfInstance((spying.body as Instance).id), "198.51.100.129"],
  ] as const;
  for (const [pid, gateway] of outsiders) {
    for (const address of ["198.51.100.2", "fd7a:b0c5:1::2"]) {
      expect(await within(pid, get(address))).not.toContain("web-0");
    }
    expect(await within(pid, `nslookup web ${gateway} 2>&1`)).toMatch(/NXDOMAIN|can't find/);
    // By the published port it does, as everybody may: so what is refused above is refused by the network.
    expect(await within(pid, get(gateway, 20_080))).toBe("web-0");
  }
  expect((await fleet.http("DELETE", "/v1/workloads/spy?graceMs=0", { headers })).status).toBe(202);
  await expect
    .poll(async () => (await fleet.http("DELETE", "/v1/networks/theirs", { headers })).status, { timeout: 10_000 })
    .toBe(204);
  await fleet.remove("near");
});

test("bandwidth is what was asked for, within 15 %, in both directions", async () => {
  const wanted = { ingressBitsPerSec: 40_000_000, egressBitsPerSec: 20_000_000 };
  const slow = await fleet.run("slow", spec(idle, { network: "lan", bandwidth: wanted }));
  const pid = await fleet.pidOf("slow-0");
  await using _source = await NetworkPeer.serve(pid, "source", 91);
  await using sink = await NetworkPeer.serve(pid, "sink", 92);
  const heard = connect({ host: addressOf(slow), port: 91 });
  heard.resume();
  await once(heard, "connect");
  const egress = await bitsPerSecond(() => heard.bytesRead);
  heard.destroy();
  expect(egress / wanted.egressBitsPerSec).toBeGreaterThan(0.85);
  expect(egress / wanted.egressBitsPerSec).toBeLessThan(1.15);
  const sending = connect({ host: addressOf(slow), port: 92 });
  const block = Buffer.alloc(65_536);
  const more = (): void => {
    while (sending.write(block));
  };
  sending.on("drain", more).on("connect", more);
  const ingress = await bitsPerSecond(() => sink.said());
  sending.destroy();
  expect(ingress / wanted.ingressBitsPerSec).toBeGreaterThan(0.85);
  expect(ingress / wanted.ingressBitsPerSec).toBeLessThan(1.15);
  await fleet.remove("slow");
});

test("connections, rules and names outlive an agent that is killed", async () => {
  await fleet.run("talk", spec(idle, { network: "lan", ports: [{ containerPort: 93, hostPort: 20_093 }] }));
  await using _echo = await NetworkPeer.serve(await fleet.pidOf("talk-0"), "echo", 93);
  using dialogue = await Dialogue.open("127.0.0.1", 20_093);
  expect(await dialogue.ask("before")).toBe("before");
  const before = { rules: await rules(), links: links().toSorted() };
  await fleet.kill("container-node", {
    whileDown: async () => {
      expect(await dialogue.ask("meanwhile")).toBe("meanwhile");
    },
  });
  expect(await dialogue.ask("after")).toBe("after");
  await expect
    .poll(() => sh("client-0", `nslookup talk ${gateways[0]} 2>&1`).catch(String), { timeout: 30_000 })
    .toMatch(/198\.51\.100\.\d+$/m);
  // How much each has asked of late is forgotten with the rules that count it.
  const counted = /limit rate over .* expires/;
  const lines = (text: string): string[] =>
    text
      .split("\n")
      .filter((line) => !counted.test(line))
      .toSorted();
  expect(lines(await rules())).toEqual(lines(before.rules));
  expect(links().toSorted()).toEqual(before.links);
  expect(await fetched("127.0.0.1", 20_080)).toBe("web-0");
  await fleet.remove("talk");
});

test("a host port that another instance or a program of the host has is refused with its reason", async () => {
  const ports = (hostPort: number) => [{ containerPort: 80, hostPort }];
  await fleet.create("second", spec(idle, { network: "lan", ports: ports(20_080) }));
  await expect.poll(() => rejectionsOf("second-0"), { timeout: 10_000 }).toEqual(["its tcp port 20080 is taken"]);
  await fleet.remove("second");
  const program = createServer().listen(0, "127.0.0.1");
  await once(program, "listening");
  const { port } = program.address() as AddressInfo;
  await fleet.create("third", { ...spec(idle, { network: "lan", ports: ports(port) }), restart: { policy: "never" } });
  const failed = await fleet.waitFor("third-0", "failed");
  expect(failed).toMatchObject({
    reason: "PortBusy",
    detail: expect.stringContaining(`tcp port ${port} at 0.0.0.0 cannot be published: another program of this host`),
  });
  program.close();
  await fleet.remove("third");
});

test("helpers use the network of the instance whose namespace they share, and nobody connects it twice", async () => {
  expect((await fleet.cli("shares", "create", "pod", "--namespace", "network")).code).toBe(0);
  const shares = [{ share: "pod" }];
  const helper = "mkdir /www && hostname > /www/index.html && exec httpd -f -p 81 -h /www";
  await fleet.run("helper", spec(helper, { shares }));
  const ports = [{ containerPort: 81, hostPort: 20_081 }];
  const server = await fleet.run("server", spec(idle, { shares, network: "lan", ports }));
  await expect.poll(() => sh("client-0", get(addressOf(server), 81)), { timeout: 10_000 }).toBe("helper-0");
  expect(await fetched("127.0.0.1", 20_081)).toBe("helper-0");
  expect(await sh("helper-0", "nslookup web")).toMatch(/198\.51\.100\.2$/m);
  expect(await sh("helper-0", get("198.51.100.2"))).toBe("web-0");
  expect((await fleet.cli("view", "helper-0")).stdout).toContain(
    `by share pod; server-0 connects it to lan as ${addressOf(server)}, `,
  );
  const two = spec(idle, { shares, network: "lan", replicas: 2 });
  expect(await post("/v1/workloads", { name: "two", spec: two })).toMatchObject({
    status: 400,
    body: { code: "REQUEST_INVALID", errors: [{ pointer: "/spec/replicas" }] },
  });
  const never = { policy: "never" } as const;
  await fleet.create("again", spec(idle, { shares, network: "lan", restart: never }));
  expect(await fleet.waitFor("again-0", "failed")).toMatchObject({
    reason: "NetworkFailed",
    detail: expect.stringContaining(
      "Instance server-0 has connected the network namespace of share pod to network lan",
    ),
  });
  await fleet.remove("again");
  await fleet.remove("server");
  await expect.poll(() => sh("helper-0", "ls /sys/class/net"), { timeout: 10_000 }).toBe("lo");
  expect(await sh("helper-0", get("127.0.0.1", 81))).toBe("helper-0");
  await fleet.remove("helper");
  expect((await fleet.cli("shares", "rm", "pod")).code).toBe(0);
});

test("ranges that overlap or are full, unknown networks and networks in use are refused by code", async () => {
  expect(await post("/v1/networks", { name: "over", ipv4Range: "198.51.100.0/28" })).toMatchObject({
    status: 409,
    body: { code: "NETWORK_OVERLAPS", errors: [{ pointer: "/ipv4Range" }] },
  });
  expect(await post("/v1/workloads", { name: "lost", spec: spec(idle, { network: "gone" }) })).toMatchObject({
    status: 422,
    body: { code: "NETWORK_UNKNOWN", errors: [{ pointer: "/spec/network" }] },
  });
  expect(await fleet.http("DELETE", "/v1/networks/lan")).toMatchObject({
    status: 409,
    body: { code: "NETWORK_IN_USE" },
  });
  const refused = await fleet.cli("networks", "rm", "lan");
  expect(refused.code).not.toBe(0);
  expect(refused.stderr).toContain("NETWORK_IN_USE");
  expect((await post("/v1/networks", { name: "tiny", ipv4Range: "198.51.100.240/29" })).status).toBe(201);
  await fleet.create("many", spec(idle, { network: "tiny", replicas: 6 }));
  await expect
    .poll(async () => (await Promise.all(Array.from({ length: 6 }, (_, at) => rejectionsOf(`many-${at}`)))).flat(), {
      timeout: 20_000,
    })
    .toEqual(["network tiny has no free address in 198.51.100.240/29"]);
  await fleet.remove("many");
});

test("`none` has loopback only, and `host` is refused where the host does not allow it", async () => {
  await fleet.run("alone", spec(idle, { network: "none" }));
  expect(await sh("alone-0", "ls /sys/class/net")).toBe("lo");
  await fleet.create("open", spec(idle, { network: "host" }));
  await expect
    .poll(() => rejectionsOf("open-0"), { timeout: 10_000 })
    .toEqual(["does not allow its own network to instances"]);
  await fleet.remove("open");
  await fleet.remove("alone");
});

test("the last user takes bridges, rules and settings along", async () => {
  expect(links()).not.toEqual([]);
  await fleet.remove("client");
  await fleet.remove("web");
  await expect.poll(links, { timeout: 10_000 }).toEqual([]);
  await expect(rules()).rejects.toThrow("No such file or directory");
  // Put back last, once nothing needs them.
  await expect.poll(settings, { timeout: 5_000 }).toEqual(settingsBefore);
  for (const name of ["lan", "far", "tiny"]) expect((await fleet.cli("networks", "rm", name)).code).toBe(0);
});
