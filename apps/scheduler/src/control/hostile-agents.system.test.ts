import { facts } from "@bulkhead/inventory/testing";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { Rig } from "./testing/rig.ts";

let rig: Rig;
beforeAll(async () => {
  rig = await Rig.start();
});
beforeEach(() => rig.reset());
afterAll(() => rig[Symbol.asyncDispose]());

const deadline = { timeout: 30_000, interval: 10 };
const until = <T>(assertion: () => T | Promise<T>): Promise<T> => vi.waitFor(assertion, deadline);
const running = async (...names: string[]) => {
  const rows = await rig.fleet.query<{ name: string }>(
    `SELECT name FROM instance WHERE state = 'running' ORDER BY name`,
  );
  expect(rows.map((row) => row.name)).toEqual(names);
};

describe("reports that cannot be kept", () => {
  /** A time that is one by RFC 3339 and that Postgres does not have. */
  const noTime = "0000-01-01T00:00:00.000Z";

  test("one is left out and acknowledged: what its host reports before and after it counts", async () => {
    const loop = await rig.control();
    const agent = await rig.joined();
    await rig.fleet.addWorkload("a");
    await rig.fleet.addWorkload("b");
    loop.wake();
    await until(() => running("a-0", "b-0"));
    await until(() => expect(agent.pendingReports).toBe(0));
    agent.reporting = false;
    const [a, b] = [...agent.assignments.values()].sort((one, other) => one.name.localeCompare(other.name));
    if (a === undefined || b === undefined) throw new Error("no assignments");
    agent.report(a, { state: "stopping" });
    agent.report(b, { state: "stopping", at: noTime });
    agent.report(a, { state: "stopped", reason: "StoppedByUser" });
    agent.report(b, { state: "failed", reason: "Exited" });
    agent.reporting = true;
    agent.send();
    await until(async () =>
      expect(await rig.fleet.query(`SELECT name, state FROM instance ORDER BY name`)).toEqual([
        { name: "a-0", state: "stopped" },
        { name: "b-0", state: "failed" },
      ]),
    );
    await until(() => expect(agent.pendingReports).toBe(0));
    const said = rig.log.lines.filter(({ message }) => message === "report cannot be kept and is left out");
    expect(said.map(({ level, fields }) => [level, fields["instanceId"]])).toEqual([["error", b.instanceId]]);
  });

  test("the last one as well, and text that no database keeps is no such report", async () => {
    const loop = await rig.control();
    const agent = await rig.joined();
    await rig.fleet.addWorkload("a");
    loop.wake();
    await until(() => running("a-0"));
    const [a] = agent.assignments.values();
    if (a === undefined) throw new Error("no assignment");
    agent.report(a, { state: "stopping", detail: "half of one: \ud83d, and a NUL: \0" });
    agent.report(a, { state: "stopped", at: noTime });
    await until(() => expect(agent.pendingReports).toBe(0));
    expect(await rig.fleet.query(`SELECT state, detail FROM instance`)).toEqual([
      { state: "stopping", detail: "half of one: \ufffd, and a NUL: \ufffd" },
    ]);
  });
});

describe("heartbeats of a hostile host", () => {
  test("cost no other its lease, whatever text they carry and however often they name a run", async () => {
    const loop = await rig.control();
    const honest = await rig.joined();
    await rig.fleet.addWorkload("a");
    loop.wake();
    await until(() => running("a-0"));
    const [a] = honest.assignments.values();
    if (a === undefined) throw new Error("no assignment");
    const hostile = await rig.agent(await rig.fleet.addHost());
    const unknown = [7, 8].map((n) => ({ instanceId: a.instanceId, name: "\0", epoch: { era: 1, n } }));
    const rounds = 20;
    const before = honest.grants.length;
    for (let round = 0; round < rounds; round += 1) {
      hostile.heartbeat({ unknown, bootId: `\0${round}`, facts: { ...facts(), kernel: `\ud83d${round}` } });
      honest.heartbeat();
      await until(() => expect(honest.grants.length).toBeGreaterThan(before + round));
    }
    await until(async () =>
      expect(
        await rig.fleet.query(`SELECT boot_id, facts ->> 'kernel' AS kernel FROM host_agent WHERE host_id = $1`, [
          hostile.host.hostId,
        ]),
      ).toEqual([{ boot_id: `\ufffd${rounds - 1}`, kernel: `\ufffd${rounds - 1}` }]),
    );
    expect(rig.log.lines.filter(({ message }) => message === "control work failed, trying again")).toEqual([]);
  });
});
