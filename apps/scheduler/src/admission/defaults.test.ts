import { CreateWorkload, WorkloadSpec } from "@bulkhead/contracts";
import { expect, test } from "vitest";
import { Value } from "typebox/value";
import { withDefaults } from "./defaults.ts";

const bare: WorkloadSpec = { image: "app", resources: { cpuMillis: 100, memoryBytes: 2 ** 26 } };

interface Shape {
  readonly default?: unknown;
  readonly properties?: Readonly<Record<string, Shape>>;
}

/** Every default the schema names, by its path. */
const named = (schema: Shape, path: readonly string[] = []): [string[], unknown][] => [
  ...(schema.default === undefined ? [] : [[[...path], schema.default] as [string[], unknown]]),
  ...Object.entries(schema.properties ?? {}).flatMap(([name, inner]) => named(inner, [...path, name])),
];

const at = (value: unknown, path: readonly string[]): unknown =>
  path.reduce<unknown>((inner, name) => (inner as Record<string, unknown> | undefined)?.[name], value);

test("every default that the schema names is filled in with that value", () => {
  const filled = { ...withDefaults({ ...bare, isolation: "vm" }), ...withDefaults(bare) };
  const defaults = named(WorkloadSpec as unknown as Shape);
  expect(defaults.length).toBeGreaterThan(8);
  for (const [path, value] of defaults) expect([path.join("."), at(filled, path)]).toEqual([path.join("."), value]);
});

test("what was given stays, and the result is a valid specification", () => {
  const given: WorkloadSpec = {
    ...bare,
    command: ["/bin/sh"],
    args: ["-c"],
    env: { A: "1" },
    workingDir: "/srv",
    user: "nobody",
    resources: { ...bare.resources, cpuLimitMillis: 200, memoryReservationBytes: 5, pidsMax: 7, io: { weight: 50 } },
    restart: { policy: "never", maxRestarts: 3 },
    replicas: 3,
    constraints: { hostLabels: { zone: "a" } },
    mounts: [{ hostPath: "/srv/shared", path: "/data", readOnly: false }],
    stopGraceMs: 1,
    onLoss: "replace",
    leaseMs: 6_000,
    container: { readOnlyRoot: true },
    labels: { tier: "a" },
  };
  const filled = withDefaults(given);
  expect(filled).toMatchObject(given);
  expect(Value.Check(CreateWorkload, { name: "web", spec: filled })).toBe(true);
  expect(withDefaults(filled)).toEqual(filled);
});

test("each kind gets its own settings and not the other's", () => {
  expect(withDefaults({ ...bare, isolation: "vm" })).not.toHaveProperty("container");
  expect(withDefaults(bare)).not.toHaveProperty("vm");
});
