import type { PatchWorkload, Workload, WorkloadSpec } from "@bulkhead/contracts";
import { isFleetError } from "@bulkhead/contracts";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { withDefaults } from "./defaults.ts";
import { mergePatch, revise } from "./patch-rules.ts";

const workload = (spec: Partial<WorkloadSpec> = {}): Workload =>
  ({
    name: "web",
    spec: withDefaults({ image: "app", resources: { cpuMillis: 1_000, memoryBytes: 2 ** 26 }, ...spec }),
  }) as Workload;

const patch = (spec: PatchWorkload["spec"]): PatchWorkload => ({ spec });

const refusal = (work: () => unknown) => {
  try {
    work();
  } catch (error) {
    if (isFleetError(error)) return { code: error.code, ...error.fields };
    throw error;
  }
  return undefined;
};

describe("merge patch (RFC 7396)", () => {
  // The RFC's own examples, appendix A.
  test.each([
    [{ a: "b" }, { a: "c" }, { a: "c" }],
    [{ a: "b" }, { b: "c" }, { a: "b", b: "c" }],
    [{ a: "b" }, { a: null }, {}],
    [{ a: "b", b: "c" }, { a: null }, { b: "c" }],
    [{ a: ["b"] }, { a: "c" }, { a: "c" }],
    [{ a: "c" }, { a: ["b"] }, { a: ["b"] }],
    [{ a: { b: "c" } }, { a: { b: "d", c: null } }, { a: { b: "d" } }],
    [{ a: [{ b: "c" }] }, { a: [1] }, { a: [1] }],
    [
      ["a", "b"],
      ["c", "d"],
      ["c", "d"],
    ],
    [{ a: "b" }, ["c"], ["c"]],
    [{ a: "foo" }, null, null],
    [{ e: null }, { a: 1 }, { e: null, a: 1 }],
    [[1, 2], { a: "b", c: null }, { a: "b" }],
    [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
  ])("%j with %j is %j", (target, change, result) => {
    expect(mergePatch(target, change)).toEqual(result);
  });

  test("an empty patch changes nothing, and a patch applied twice is applied once", () => {
    const value = fc.dictionary(
      fc.string(),
      fc.oneof(fc.integer(), fc.constant(null), fc.dictionary(fc.string(), fc.integer())),
    );
    fc.assert(
      fc.property(value, value, (target, change) => {
        expect(mergePatch(target, {})).toEqual(target);
        const once = mergePatch(target, change);
        expect(mergePatch(once, change)).toEqual(once);
      }),
    );
  });
});

describe("revise", () => {
  test("untouched limits stay", () => {
    const before = workload({
      resources: { cpuMillis: 1_000, cpuLimitMillis: 2_000, memoryBytes: 2 ** 26, pidsMax: 50 },
    });
    const after = revise(before, patch({ resources: { memoryBytes: 2 ** 27 } }), undefined);
    expect(after.resources).toEqual({ ...before.spec.resources, memoryBytes: 2 ** 27 });
    expect({ ...after, resources: null }).toEqual({ ...before.spec, resources: null });
  });

  test("null removes what is optional and brings the default back", () => {
    const before = workload({
      resources: { cpuMillis: 1_000, cpuLimitMillis: 2_000, memoryBytes: 2 ** 26, pidsMax: 50 },
      labels: { a: "1", b: "2" },
    });
    const after = revise(
      before,
      patch({ resources: { cpuLimitMillis: null, pidsMax: null }, labels: { a: null } }),
      undefined,
    );
    expect(after.resources).not.toHaveProperty("cpuLimitMillis");
    expect([after.resources.pidsMax, after.labels]).toEqual([1024, { b: "2" }]);
  });

  test("limits of the disk stay, change and go one by one", () => {
    const io = { readBytesPerSec: 8_192, writeOpsPerSec: 50 };
    const before = workload({ resources: { cpuMillis: 1_000, memoryBytes: 2 ** 26, io } });
    const changed = (patched: NonNullable<NonNullable<PatchWorkload["spec"]["resources"]>["io"]> | null) =>
      revise(before, patch({ resources: { io: patched } }), undefined).resources.io;
    expect(changed({ weight: 20 })).toEqual({ ...io, weight: 20 });
    expect(changed({ readBytesPerSec: null })).toEqual({ writeOpsPerSec: 50 });
    expect(changed({ readBytesPerSec: null, writeOpsPerSec: null })).toBeUndefined();
    expect(changed(null)).toBeUndefined();
  });

  test("a share above the limit that stays is refused with what would do", () => {
    const before = workload({ resources: { cpuMillis: 1_000, cpuLimitMillis: 2_000, memoryBytes: 2 ** 26 } });
    expect(refusal(() => revise(before, patch({ resources: { cpuMillis: 3_000 } }), undefined))).toMatchObject({
      code: "LIMIT_INFEASIBLE",
      nearestFeasible: { cpuLimitMillis: 3_000 },
    });
  });

  test("a VM keeps its size, and may change the rest", () => {
    const vm = workload({ isolation: "vm" });
    expect(refusal(() => revise(vm, patch({ resources: { memoryBytes: 2 ** 28 } }), undefined))).toMatchObject({
      code: "LIMIT_INFEASIBLE",
      errors: [{ pointer: "/spec/resources/memoryBytes" }],
    });
    expect(revise(vm, patch({ replicas: 2 }), undefined).replicas).toBe(2);
  });

  test("dedicated CPUs keep their number", () => {
    const before = workload({ resources: { cpuMillis: 2_000, memoryBytes: 2 ** 26, cpuPolicy: "dedicated" } });
    expect(refusal(() => revise(before, patch({ resources: { cpuMillis: 3_000 } }), undefined))).toMatchObject({
      code: "LIMIT_INFEASIBLE",
      nearestFeasible: { cpuMillis: 2_000 },
    });
    expect(revise(before, patch({ resources: { memoryBytes: 2 ** 27 } }), undefined).resources.memoryBytes).toBe(
      2 ** 27,
    );
  });

  test("more than any host has is refused; a change elsewhere is not, whatever the hosts have", () => {
    const largest = { cpuMillis: 500, memoryBytes: 2 ** 20 };
    expect(refusal(() => revise(workload(), patch({ resources: { cpuMillis: 2_000 } }), largest))?.code).toBe(
      "LIMIT_INFEASIBLE",
    );
    expect(revise(workload(), patch({ stopGraceMs: 1 }), largest).stopGraceMs).toBe(1);
  });

  test("replicas whose names would be too long are refused", () => {
    const long = { ...workload(), name: "a".repeat(61) };
    expect(refusal(() => revise(long, patch({ replicas: 11 }), undefined))).toMatchObject({
      code: "REQUEST_INVALID",
      errors: [{ pointer: "/spec/replicas" }],
    });
  });
});
