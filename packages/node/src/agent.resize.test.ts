import { assignment, FakeHost, instanceId, settle } from "@bulkhead/testkit/runtime";
import { describe, expect, test } from "vitest";

const one = instanceId(1);
const minute = 60_000;

describe("resize", () => {
  const larger = { cpuMillis: 100, memoryBytes: 128 * 1024 * 1024 };

  const running = async () => {
    const host = new FakeHost();
    await host.start();
    host.control.assign(assignment());
    await host.clock.advance(10);
    return host;
  };

  test("a newer generation changes the limits of the living run", async () => {
    const host = await running();
    host.control.assign(assignment({ generation: 2, spec: { resources: larger } }));
    await settle();
    expect(host.runtime.run(one).resources).toEqual(larger);
    expect(host.runtime.started).toHaveLength(1);
    expect(host.control.newest(one)).toMatchObject({ generation: 2, resize: { generation: 2, outcome: "applied" } });
  });

  test("a deferred one is tried again; the run keeps its generation until then", async () => {
    const host = await running();
    let refusals = 0;
    host.runtime.script.resize = () =>
      (refusals += 1) < 3 ? { outcome: "deferred", detail: "memory is in use" } : { outcome: "applied" };
    const script = host.runtime.script;
    expect(script.resize).toBeDefined();
    host.control.assign(assignment({ generation: 2, spec: { resources: larger } }));
    await settle();
    expect(host.control.newest(one)).toMatchObject({
      generation: 1,
      resize: { generation: 2, outcome: "deferred", detail: "memory is in use" },
    });
    await host.clock.advance(minute);
    expect(host.control.newest(one)).toMatchObject({ generation: 2, resize: { outcome: "applied" } });
    expect(refusals).toBe(3);
  });

  test("an infeasible one is final for its generation", async () => {
    const host = await running();
    let asked = 0;
    host.runtime.script.resize = () => {
      asked += 1;
      return { outcome: "infeasible", detail: "at least 70 MiB" };
    };
    host.control.assign(assignment({ generation: 2, spec: { resources: larger } }));
    await host.clock.advance(5 * minute);
    expect(asked).toBe(1);
    expect(host.control.newest(one)).toMatchObject({ generation: 1, resize: { generation: 2, outcome: "infeasible" } });
    expect(host.runtime.living(one)).toHaveLength(1);
  });

  test("a change that leaves the resources alone touches no kernel file", async () => {
    const host = await running();
    host.runtime.script.resize = () => {
      throw new Error("not needed");
    };
    host.control.assign(assignment({ generation: 2, spec: { stopGraceMs: 1 } }));
    await settle();
    expect(host.control.newest(one)).toMatchObject({ generation: 2, resize: { outcome: "applied" } });
  });

  test("an instance that waits for its next start takes the generation for that", async () => {
    const host = new FakeHost();
    await host.start();
    host.control.assign(assignment({ spec: { command: ["exit7"], restart: { policy: "never" } } }));
    await settle();
    host.control.update(one, { generation: 2 });
    await settle();
    expect(host.control.newest(one)).toMatchObject({
      state: "failed",
      reason: "Exited",
      generation: 2,
      exit: { exitCode: 7 },
    });
  });
});
