import type { Assignment, InstanceReport } from "@bulkhead/contracts";
import { startPostgres, type TestPostgres } from "@bulkhead/testkit/servers";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { migrate } from "../index.ts";
import { batch, report, TestFleet, type TestHost } from "../testing/fixture.ts";

let postgres: TestPostgres;
let fleet: TestFleet;
let host: TestHost;
let assignment: Assignment;
let seq = 0;
beforeAll(async () => {
  postgres = await startPostgres({ migrate });
  fleet = await TestFleet.make(postgres);
});
beforeEach(async () => {
  await fleet.reset();
  seq = 0;
  ({ host, assignment } = await fleet.placedInstance("web"));
});
afterAll(async () => {
  await fleet[Symbol.asyncDispose]();
  await postgres[Symbol.asyncDispose]();
});

const reported = async (changes: Partial<InstanceReport>) => {
  seq += 1;
  await fleet.fold(batch(host, [report(assignment, seq, changes)]));
};
const order = (action: "stop" | "restart" | "pause" | "resume") =>
  fleet.inventory.api.write((tx) =>
    tx.orderInstance(fleet.change, { instance: { project: "default", idOrName: "web-0" }, action }),
  );
const settled = async (id: string) => {
  await fleet.control.settleOperations(fleet.term);
  return (
    await fleet.query<{ state: string; progress: string | null; error: unknown }>(
      `SELECT state, progress, error FROM operation WHERE id = $1`,
      [id],
    )
  )[0];
};
const creation = async () =>
  (await fleet.query<{ id: string }>(`SELECT id FROM operation WHERE kind = 'workload.create'`))[0]?.id ?? "";

describe("workload.create", () => {
  test("succeeds when the instance has run, told once", async () => {
    const id = await creation();
    expect(await settled(id)).toMatchObject({ state: "running", progress: "0 of 1 instances" });
    await reported({ state: "running" });
    expect(await settled(id)).toMatchObject({ state: "succeeded", progress: null });
    await settled(id);
    expect(await fleet.query(`SELECT data FROM event WHERE type = 'operation.finished'`)).toMatchObject([
      { data: { operationId: id, kind: "workload.create", state: "succeeded" } },
    ]);
  });

  test("succeeds also when it ended at once: it did run", async () => {
    await reported({ state: "running" });
    await reported({ state: "stopped", reason: "Exited" });
    expect(await settled(await creation())).toMatchObject({ state: "succeeded" });
  });

  test("fails with the instance's reason when it cannot start", async () => {
    await reported({ state: "failed", reason: "ImageInvalid", detail: "layer 2 is corrupt" });
    expect(await settled(await creation())).toMatchObject({
      state: "failed",
      error: { code: "IMAGE_INVALID", detail: "web-0: ImageInvalid: layer 2 is corrupt", status: 422 },
    });
  });

  test("fails when the workload is deleted before", async () => {
    const id = await creation();
    await fleet.inventory.api.write((tx) =>
      tx.deleteWorkload(fleet.change, { workload: { project: "default", idOrName: "web" } }),
    );
    expect(await settled(id)).toMatchObject({ state: "failed", error: { code: "STATE_CONFLICT" } });
  });
});

describe("operations that nobody reports on", () => {
  const running = () => fleet.query(`SELECT id FROM operation WHERE state = 'running'`);

  test("more of them than fit in one transaction do not hide the rest", async () => {
    const [workload] = await fleet.query<{ id: string }>(`SELECT id FROM workload`);
    await fleet.query(
      `INSERT INTO operation (id, project, kind, target_type, target_id)
       SELECT ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, 'default', 'workload.create', 'workload', $1
       FROM generate_series(1, 2500) n`,
      [workload?.id],
    );
    // The youngest of all, and done: its instance is no more.
    await fleet.query(
      `INSERT INTO operation (id, project, kind, target_type, target_id)
       VALUES ('ffffffff-0000-7000-8000-000000000000', 'default', 'instance.stop', 'instance', gen_random_uuid()::text)`,
    );
    await fleet.control.settleOperations(fleet.term);
    expect(await fleet.query(`SELECT state FROM operation WHERE kind = 'instance.stop'`)).toEqual([
      { state: "succeeded" },
    ]);
    await reported({ state: "running" });
    await fleet.control.settleOperations(fleet.term, [workload?.id ?? ""]);
    expect(await running()).toEqual([]);
  });
});

describe("orders to one instance", () => {
  beforeEach(() => reported({ state: "running" }));

  test("stop", async () => {
    const { id } = await order("stop");
    expect(await settled(id)).toMatchObject({ state: "running" });
    await reported({ state: "stopping" });
    expect(await settled(id)).toMatchObject({ state: "running" });
    await reported({ state: "stopped", reason: "StoppedByUser" });
    expect(await settled(id)).toMatchObject({ state: "succeeded" });
  });

  test("restart waits for a later attempt", async () => {
    const { id } = await order("restart");
    expect(await settled(id)).toMatchObject({ state: "running" });
    await reported({ state: "stopping" });
    await reported({ state: "starting" });
    await reported({ state: "running", attempt: 2 });
    expect(await settled(id)).toMatchObject({ state: "succeeded" });
  });

  test("restart that fails says why", async () => {
    const { id } = await order("restart");
    await reported({ state: "stopping" });
    await reported({ state: "starting", attempt: 2 });
    await reported({ state: "failed", attempt: 2, reason: "MountFailed", detail: "no space" });
    expect(await settled(id)).toMatchObject({
      state: "failed",
      error: { code: "RUNTIME_FAILED", detail: "web-0: MountFailed: no space" },
    });
  });

  test("pause and resume", async () => {
    const pause = await order("pause");
    expect(await settled(pause.id)).toMatchObject({ state: "running" });
    await reported({ state: "paused" });
    expect(await settled(pause.id)).toMatchObject({ state: "succeeded" });
    const resume = await order("resume");
    expect(await settled(resume.id)).toMatchObject({ state: "running" });
    await reported({ state: "running" });
    expect(await settled(resume.id)).toMatchObject({ state: "succeeded" });
  });

  test("pause of what ends meanwhile fails", async () => {
    const { id } = await order("pause");
    await reported({ state: "stopped", reason: "Exited" });
    expect(await settled(id)).toMatchObject({ state: "failed", error: { code: "STATE_CONFLICT" } });
  });
});

describe("workload.update", () => {
  const patch = (memoryBytes: number, replicas = 1) =>
    fleet.inventory.api.write((tx) =>
      tx.patchWorkload(fleet.change, {
        workload: { project: "default", idOrName: "web" },
        revise: ({ spec }) => ({ ...spec, replicas, resources: { ...spec.resources, memoryBytes } }),
      }),
    );
  beforeEach(() => reported({ state: "running" }));

  test("waits until the agent has applied the new generation", async () => {
    const { operation } = await patch(128 * 1024 ** 2);
    expect(await settled(operation.id)).toMatchObject({ state: "running" });
    await reported({ generation: 2, resize: { generation: 2, outcome: "applied" } });
    expect(await settled(operation.id)).toMatchObject({ state: "succeeded" });
    expect((await fleet.control.readHosts())[0]?.held.memoryBytes).toBe(128 * 1024 ** 2);
  });

  test("fails when the limit cannot be applied", async () => {
    const { operation } = await patch(32 * 1024 ** 2);
    await reported({ generation: 2, resize: { generation: 2, outcome: "infeasible", detail: "48 MiB are in use" } });
    expect(await settled(operation.id)).toMatchObject({
      state: "failed",
      error: { code: "LIMIT_INFEASIBLE", detail: "web-0: 48 MiB are in use" },
    });
  });

  test("more replicas: waits for the new one; fewer: until the tombstoned one is gone", async () => {
    const more = await patch(64 * 1024 ** 2, 2);
    await fleet.place();
    expect(await settled(more.operation.id)).toMatchObject({ state: "running" });
    const second = (await fleet.assignments(host)).find((found) => found.name === "web-1");
    if (second === undefined) throw new Error("web-1 was not placed");
    await fleet.fold(batch(host, [report(second, 2)]));
    expect(await settled(more.operation.id)).toMatchObject({ state: "succeeded" });
    const fewer = await patch(64 * 1024 ** 2, 1);
    expect(await settled(fewer.operation.id)).toMatchObject({ state: "running" });
    await fleet.fold(batch(host, [report(second, 3, { state: "gone" })]));
    expect(await settled(fewer.operation.id)).toMatchObject({ state: "succeeded" });
  });
});
