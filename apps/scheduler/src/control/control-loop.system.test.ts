import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { Rig } from "./testing/rig.ts";

let rig: Rig;
beforeAll(async () => {
  rig = await Rig.start();
});
beforeEach(() => rig.reset());
afterAll(() => rig[Symbol.asyncDispose]());

const deadline = { timeout: 15_000, interval: 5 };
const until = <T>(assertion: () => T | Promise<T>): Promise<T> => vi.waitFor(assertion, deadline);

const states = async (): Promise<Record<string, string>> => {
  const rows = await rig.fleet.query<{ name: string; state: string }>(`SELECT name, state FROM instance ORDER BY name`);
  return Object.fromEntries(rows.map((row) => [row.name, row.state]));
};
const stateOf = async (name: string): Promise<string | undefined> => (await states())[name];
const operation = async (id: string) =>
  (
    await rig.fleet.query<{ state: string; error: { code: string } | null }>(
      `SELECT state, error FROM operation WHERE id = $1`,
      [id],
    )
  )[0];

const deleteWorkload = (idOrName: string) =>
  rig.fleet.inventory.api.write((tx) =>
    tx.deleteWorkload(rig.fleet.change, { workload: { project: "default", idOrName } }),
  );

describe("from a workload to running and back", () => {
  test("placed, delivered, reported, told, and its operation finished", async () => {
    const loop = await rig.control();
    const agent = await rig.joined();
    const { id } = await rig.fleet.addWorkload("web", { replicas: 3 });
    loop.wake();
    await until(async () =>
      expect(await states()).toEqual({ "web-0": "running", "web-1": "running", "web-2": "running" }),
    );
    await until(async () => expect((await operation(id))?.state).toBe("succeeded"));
    await until(() => expect(agent.pendingReports).toBe(0));
    expect(agent.starts).toHaveLength(3);
    const types = await rig.fleet.query<{ type: string }>(`SELECT type FROM event ORDER BY id`);
    expect(types.map((row) => row.type).filter((type) => type.startsWith("instance") || type.startsWith("op"))).toEqual(
      [
        ...Array(3).fill("instance.created"),
        ...Array(3).fill("instance.placed"),
        ...Array(3).fill("instance.state"),
        "operation.finished",
      ],
    );
    expect(rig.announcements).toBeGreaterThan(0);
    await until(async () => expect(await rig.fleet.control.readOutbox(10)).toEqual([]));
  });

  test("deleted: a tombstone ends it, its rows go, and its room is free again", async () => {
    const loop = await rig.control();
    const agent = await rig.joined();
    const whole = { resources: { cpuMillis: 4000, memoryBytes: 64 * 1024 ** 2 } };
    await rig.fleet.addWorkload("first", whole);
    loop.wake();
    await until(async () => expect(await stateOf("first-0")).toBe("running"));
    await rig.fleet.addWorkload("second", whole);
    loop.wake();
    await until(async () =>
      expect(await rig.fleet.query(`SELECT reason FROM instance WHERE name = 'second-0'`)).toEqual([
        { reason: "NoCapacity" },
      ]),
    );
    const deletion = await deleteWorkload("first");
    loop.wake();
    await until(async () => expect(await states()).toEqual({ "second-0": "running" }));
    await until(async () => expect((await operation(deletion.id))?.state).toBe("succeeded"));
    expect(await rig.fleet.query(`SELECT name FROM workload`)).toEqual([{ name: "second" }]);
    expect(agent.running.size).toBe(1);
  });

  test("an operation that nobody reports on ends on a fleet whose reports never pause", async () => {
    const loop = await rig.control({ settleMs: 500 });
    const agent = await rig.joined();
    await rig.fleet.addWorkload("busy");
    const { id } = await rig.fleet.addWorkload("large", { resources: { cpuMillis: 64_000, memoryBytes: 2 ** 30 } });
    loop.wake();
    await until(async () => expect(await stateOf("busy-0")).toBe("running"));
    const [busy] = agent.assignments.values();
    let contractHeld = false;
    const reports = setInterval(() => {
      contractHeld = !contractHeld;
      if (busy !== undefined) agent.report(busy, { contractHeld });
    }, 50);
    try {
      await deleteWorkload("large");
      await until(async () =>
        expect(await operation(id)).toMatchObject({ state: "failed", error: { code: "STATE_CONFLICT" } }),
      );
    } finally {
      clearInterval(reports);
    }
  });

  test("what an API write finishes is finished at once", async () => {
    const loop = await rig.control({ settleMs: 3_600_000 });
    await rig.joined();
    const { id } = await rig.fleet.addWorkload("large", { resources: { cpuMillis: 64_000, memoryBytes: 2 ** 30 } });
    await until(() => expect(loop.leads).toBe(true));
    loop.wake([(await deleteWorkload("large")).target.id]);
    await until(async () => expect(await operation(id)).toMatchObject({ state: "failed" }));
  });

  test("an instance that cannot start fails its operation with the reason", async () => {
    const loop = await rig.control();
    const agent = await rig.joined();
    agent.outcome = () => ({
      state: "failed",
      reason: "EntrypointNotFound",
      detail: "/bin/nothing is not in the image",
    });
    const { id } = await rig.fleet.addWorkload("web");
    loop.wake();
    await until(async () =>
      expect(await operation(id)).toMatchObject({
        state: "failed",
        error: { code: "EXEC_FAILED", detail: "web-0: EntrypointNotFound: /bin/nothing is not in the image" },
      }),
    );
  });
});
