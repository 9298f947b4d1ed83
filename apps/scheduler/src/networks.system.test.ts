import type { Instance, Network, Operation, Problem } from "@bulkhead/contracts";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { TestFleet, workload } from "./testing/test-fleet.ts";

let fleet: TestFleet;
beforeAll(async () => {
  fleet = await TestFleet.start();
  await fleet.addHost("one");
  await fleet.addImage("app");
});
afterAll(() => fleet[Symbol.asyncDispose]());

const make = (body: object) => fleet.call<Network & Problem>("POST", "/v1/networks", { body });
const run = async (name: string, spec: Record<string, unknown>): Promise<Operation> => {
  const made = await fleet.call<Operation>("POST", "/v1/workloads", { body: workload(name, spec) });
  expect(made.status).toBe(202);
  return made.body;
};
const instancesOf = async (name: string): Promise<readonly Instance[]> =>
  (await fleet.call<{ items: Instance[] }>("GET", `/v1/instances?workload=${name}`)).body.items;
const running = (name: string, count: number) =>
  expect
    .poll(async () => (await instancesOf(name)).filter(({ state }) => state === "running").length, { timeout: 20_000 })
    .toBe(count);
const remove = async (name: string): Promise<void> => {
  await fleet.call("DELETE", `/v1/workloads/${name}`);
  await expect
    .poll(async () => (await fleet.call("GET", `/v1/workloads/${name}`)).status, { timeout: 20_000 })
    .toBe(404);
};

describe("a network's life", () => {
  test("it is created with what was asked, listed, and deleted", async () => {
    const made = await make({ name: "plain", ipv4Range: "10.50.0.0/24", ipv6Range: "fd00:50::/64", mtu: 1400 });
    expect(made.status).toBe(201);
    const wanted = { name: "plain", ipv4Range: "10.50.0.0/24", ipv6Range: "fd00:50::/64", mtu: 1400, internal: false };
    expect(made.body).toMatchObject({ ...wanted, project: "default", addresses: 0 });
    expect(made.headers.get("location")).toBe(`/v1/networks/${made.body.id}`);
    expect((await fleet.call<Network>("GET", "/v1/networks/plain")).body).toEqual(made.body);
    expect((await fleet.call("DELETE", "/v1/networks/plain")).status).toBe(204);
    expect((await fleet.call("GET", "/v1/networks/plain")).status).toBe(404);
  });

  test("ranges that nobody named are free ones", async () => {
    const [first, second] = [await make({ name: "auto-a" }), await make({ name: "auto-b" })];
    expect([first.body.ipv4Range, second.body.ipv4Range]).toEqual(["10.201.0.0/24", "10.201.1.0/24"]);
    expect(first.body.ipv6Range).not.toBe(second.body.ipv6Range);
  });

  test.each([
    [{ name: "bad", ipv4Range: "10.0.0.1/24" }, 422, "NETWORK_RANGE_INVALID", "/ipv4Range"],
    [{ name: "bad", ipv4Range: "fd00::/64" }, 422, "NETWORK_RANGE_INVALID", "/ipv4Range"],
    [{ name: "bad", ipv4Range: "127.0.0.0/16" }, 422, "NETWORK_RANGE_INVALID", "/ipv4Range"],
    [{ name: "bad", ipv4Range: "10.0.0.0/30" }, 422, "NETWORK_RANGE_INVALID", "/ipv4Range"],
    [{ name: "bad", ipv6Range: "fe80::/64" }, 422, "NETWORK_RANGE_INVALID", "/ipv6Range"],
    [{ name: "bad", ipv4Range: "10.201.0.128/25" }, 409, "NETWORK_OVERLAPS", "/ipv4Range"],
    [{ name: "host" }, 400, "REQUEST_INVALID", "/name"],
    [{ name: "bad", colour: "red" }, 400, "REQUEST_INVALID", "/colour"],
  ])("%j is refused", async (body, status, code, pointer) => {
    const refused = await make(body);
    expect(refused.body).toMatchObject({ status, code, errors: [{ pointer }] });
    expect((await fleet.call("GET", "/v1/networks/bad")).status).toBe(404);
  });

  test("a name is taken once", async () => {
    expect((await make({ name: "auto-a" })).body).toMatchObject({ code: "NAME_TAKEN" });
  });
});

describe("instances in a network", () => {
  test("get addresses and ports with their placement, keep the network, and give all back", async () => {
    await make({ name: "lan", ipv4Range: "10.60.0.0/24", ipv6Range: "fd00:60::/64" });
    await run("web", { network: "lan", replicas: 2, ports: [{ containerPort: 80 }] });
    await running("web", 2);
    const networks = (await instancesOf("web")).map(({ network }) => network);
    expect(networks.map((network) => network?.ipv4?.address)).toEqual(["10.60.0.2", "10.60.0.3"]);
    expect(networks[0]).toMatchObject({
      name: "lan",
      mac: "02:42:0a:3c:00:02",
      ipv4: { prefix: 24, gateway: "10.60.0.1" },
      ipv6: { address: "fd00:60::2", gateway: "fd00:60::1" },
      names: ["web-0", "web"],
    });
    expect(networks.map((network) => network?.ports[0]?.hostPort)).toEqual([30_000, 30_001]);
    expect((await fleet.call("DELETE", "/v1/networks/lan")).body).toMatchObject({ code: "NETWORK_IN_USE" });
    await remove("web");
    expect((await fleet.call<Network>("GET", "/v1/networks/lan")).body.addresses).toBe(0);
    await run("next", { network: "lan" });
    await running("next", 1);
    expect((await instancesOf("next"))[0]?.network?.ipv4?.address).toBe("10.60.0.2");
    await remove("next");
    expect((await fleet.call("DELETE", "/v1/networks/lan")).status).toBe(204);
  });

  test("are one, when it connects the network namespace that it shares", async () => {
    await make({ name: "pods" });
    const share = { name: "pod", spec: { kind: "namespace", namespaces: ["network"] } };
    expect((await fleet.call("POST", "/v1/shares", { body: share })).status).toBe(201);
    await run("server", { network: "pods", shares: [{ share: "pod" }] });
    const body = { spec: { replicas: 2 } };
    for (const query of ["", "?dryRun=true"]) {
      const refused = await fleet.call("PATCH", `/v1/workloads/server${query}`, { body });
      expect(refused.body).toMatchObject({ code: "REQUEST_INVALID", errors: [{ pointer: "/spec/replicas" }] });
    }
    expect(await instancesOf("server")).toHaveLength(1);
    await remove("server");
  });

  test("wait with the reason when a range is exhausted or a host port is taken", async () => {
    await make({ name: "small", ipv4Range: "10.61.0.0/29" });
    await run("many", { network: "small", replicas: 6 });
    await running("many", 5);
    const waiting = (await instancesOf("many")).find(({ state }) => state === "pending");
    expect(waiting?.rejections[0]?.reason).toBe("network small has no free address in 10.61.0.0/29");
    await remove("many");
    await run("port-a", { network: "small", ports: [{ containerPort: 80, hostPort: 8080 }] });
    await running("port-a", 1);
    await run("port-b", { network: "small", ports: [{ containerPort: 80, hostPort: 8080 }] });
    await expect
      .poll(async () => (await instancesOf("port-b"))[0]?.rejections[0]?.reason, { timeout: 20_000 })
      .toBe("its tcp port 8080 is taken");
    await remove("port-a");
    await running("port-b", 1);
    await remove("port-b");
  });

  test.each([
    [{ network: "nowhere" }, "NETWORK_UNKNOWN", "/spec/network"],
    [{ ports: [{ containerPort: 80 }] }, "REQUEST_INVALID", "/spec/ports"],
    [{ network: "host", bandwidth: { egressBitsPerSec: 10_000 } }, "REQUEST_INVALID", "/spec/bandwidth"],
    [
      { network: "auto-a", ports: [{ containerPort: 80, hostAddress: "nobody" }] },
      "REQUEST_INVALID",
      "/spec/ports/0/hostAddress",
    ],
    [
      {
        network: "auto-a",
        ports: [
          { containerPort: 1, hostPort: 5 },
          { containerPort: 2, hostPort: 5 },
        ],
      },
      "REQUEST_INVALID",
      "/spec/ports/1/hostPort",
    ],
  ])("%j is refused", async (spec, code, pointer) => {
    const refused = await fleet.call("POST", "/v1/workloads", { body: workload("refused", spec) });
    expect(refused.body).toMatchObject({ code, errors: [{ pointer }] });
  });

  test("the host's network needs a host that allows it", async () => {
    await run("open", { network: "host" });
    await expect
      .poll(async () => (await instancesOf("open"))[0]?.rejections[0]?.reason, { timeout: 20_000 })
      .toBe("does not allow its own network to instances");
    await remove("open");
  });
});
