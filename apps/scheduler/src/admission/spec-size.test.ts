import type { Workload, WorkloadSpec } from "@bulkhead/contracts";
import { expect, test } from "vitest";
import { withDefaults } from "./defaults.ts";
import { revise } from "./patch-rules.ts";
import { workloadFaults } from "./spec-rules.ts";

const limit = 65_536;
const resources = { cpuMillis: 1_000, memoryBytes: 2 ** 26 };
const sized = (bytes: number, changes: Partial<WorkloadSpec> = {}): WorkloadSpec => {
  const spec = withDefaults({ image: "app", resources, env: { A: "" }, ...changes });
  const rest = Buffer.byteLength(JSON.stringify(spec));
  return { ...spec, env: { A: "x".repeat(bytes - rest) } };
};
const faults = (spec: WorkloadSpec) => workloadFaults({ name: "web", spec });

test("a specification may take 64 KiB with its defaults, and not a byte more", () => {
  expect(faults(sized(limit))).toEqual([]);
  expect(faults(sized(limit + 1))).toEqual([
    {
      code: "SPEC_TOO_LARGE",
      pointer: "/spec",
      message: expect.stringMatching(/^takes 65537 bytes .* for env; at most 65536 fit$/) as string,
    },
  ]);
});

test("bytes count, not characters", () => {
  expect(faults(withDefaults({ image: "app", resources, env: { A: "ü".repeat(40_000) } }))).toMatchObject([
    { code: "SPEC_TOO_LARGE" },
  ]);
});

test("a patch does not make it larger than that; what was larger before may shrink", () => {
  const workload = (spec: WorkloadSpec) => ({ name: "web", spec }) as Workload;
  const labels = { team: "a".repeat(255) };
  expect(() => revise(workload(sized(limit)), { spec: { labels } }, undefined)).toThrow(/at most 65536/);
  const grown = workload(sized(limit + 1_000));
  expect(() => revise(grown, { spec: { labels } }, undefined)).toThrow(/at most 65536/);
  expect(revise(grown, { spec: { replicas: 0 } }, undefined).replicas).toBe(0);
});
