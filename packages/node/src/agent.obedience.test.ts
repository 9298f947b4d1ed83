import { assignment, clusterId, epoch, FakeHost, instanceId, otherClusterId, settle } from "@bulkhead/testkit/runtime";
import { describe, expect, test } from "vitest";

const one = instanceId(1);
const minute = 60_000;

describe("whom it obeys", () => {
  const running = async () => {
    const host = new FakeHost();
    const agent = await host.start();
    host.control.assign(assignment());
    await host.clock.advance(2_000);
    return { host, agent };
  };

  test("an emptied database ends nothing; the instance is kept and named", async () => {
    const { host } = await running();
    host.control.forget({ version: 99 });
    host.control.announce();
    await host.clock.advance(2_000);
    expect(host.runtime.living(one)).toHaveLength(1);
    expect(host.control.heartbeats.at(-1)).toMatchObject({
      instances: 1,
      unknown: [{ instanceId: one, name: "web-1", epoch: epoch(1) }],
    });
    host.control.assign(assignment());
    await host.clock.advance(2_000);
    expect(host.control.heartbeats.at(-1)?.unknown).toEqual([]);
    expect(host.runtime.started).toHaveLength(1);
  });

  test("a restored database is refused until it starts a new era", async () => {
    const { host, agent } = await running();
    host.control.assign(assignment({ n: 2 }), assignment({ n: 3 }));
    await settle();
    host.control.forget({ version: 1 });
    await host.clock.advance(4_000);
    expect(agent.problems[0]).toContain("older than era 1 version 2");
    expect(host.control.heartbeats.at(-1)).toMatchObject({
      position: { era: 1, version: 2 },
      highestEra: 1,
      unknown: [],
    });
    host.control.forget({ era: 2, version: 2 });
    host.control.assign(assignment());
    await host.clock.advance(4_000);
    expect(agent.problems).toEqual([]);
    expect(host.control.heartbeats.at(-1)?.unknown.map(({ name }) => name)).toEqual(["web-2", "web-3"]);
    expect(host.runtime.living(one)).toHaveLength(1);
    expect(host.runtime.started).toHaveLength(3);
  });

  test("a restored control plane's older numbers count from now on", async () => {
    const { host } = await running();
    const larger = { cpuMillis: 100, memoryBytes: 2 ** 28 };
    host.control.assign(assignment({ restartRequest: 5, generation: 7, spec: { resources: larger } }));
    await host.clock.advance(2_000);
    expect(host.runtime.started).toHaveLength(2);
    host.control.forget({ era: 2, version: 9 });
    host.control.assign(assignment({ restartRequest: 2, generation: 3 }));
    await host.clock.advance(2_000);
    expect(host.runtime.started).toHaveLength(2);
    expect(host.runtime.run(one).resources).toEqual(assignment().spec.resources);
    expect(host.control.newest(one)).toMatchObject({ state: "running", generation: 3 });
    host.control.update(one, { restartRequest: 3 });
    await host.clock.advance(2_000);
    expect(host.runtime.started).toHaveLength(3);
  });

  test("a host that was told less than everything asks for everything at once", async () => {
    const { host } = await running();
    host.control.end(one);
    await settle();
    host.control.fetches = [];
    host.control.assign(assignment({ n: 2 }));
    await settle();
    expect(host.control.fetches).toEqual([{ clusterId, era: 1, version: 2 }, null]);
    expect(host.control.heartbeats.at(-1)?.digest).not.toBe(host.control.digest);
    await host.clock.advance(2_000);
    expect(host.control.heartbeats.at(-1)?.digest).toBe(host.control.digest);
    expect(host.control.fetches).toHaveLength(2);
  });

  test("another cluster's orders are refused, and shown", async () => {
    const { host, agent } = await running();
    host.control.forget({ clusterId: otherClusterId, era: 7, version: 7 });
    host.control.assign(assignment({ n: 2 }));
    await host.clock.advance(4_000);
    expect(agent.problems[0]).toContain(
      `cluster ${otherClusterId} offers orders; this host obeys cluster ${clusterId}`,
    );
    expect(host.control.heartbeats.at(-1)?.facts.problems).toEqual(agent.problems);
    expect(host.runtime.living(one)).toHaveLength(1);
    expect(host.runtime.living(instanceId(2))).toEqual([]);
  });

  test("a host that obeyed nobody yet refuses a cluster it did not join", async () => {
    const host = new FakeHost();
    host.control.forget({ clusterId: otherClusterId });
    host.control.assign(assignment());
    const agent = await host.start();
    expect(host.runtime.started).toEqual([]);
    expect(agent.problems).toHaveLength(1);
  });

  test("an epoch older than the highest seen is refused, also by the next agent", async () => {
    const { host } = await running();
    host.control.assign(assignment({ epoch: epoch(5) }));
    await settle();
    host.control.end(one);
    await settle();
    host.kill();
    const agent = await host.start();
    host.control.assign(assignment({ epoch: epoch(4) }));
    await host.clock.advance(minute);
    expect(host.runtime.living(one)).toEqual([]);
    expect(agent.problems).toEqual(["an assignment of web-1 is older than what this host has seen"]);
  });

  test("a tombstone that the control plane forgot it was told of is answered again", async () => {
    const { host } = await running();
    host.control.end(one);
    await settle();
    const told = host.control.folded.filter(({ state }) => state === "gone").length;
    host.control.assign(assignment());
    host.control.end(one);
    await settle();
    expect(host.control.folded.filter(({ state }) => state === "gone")).toHaveLength(told + 1);
    expect(host.control.tombstones).toEqual([]);
    expect(host.runtime.started).toHaveLength(1);
  });
});
