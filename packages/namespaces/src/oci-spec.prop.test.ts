import { compilePlan, NativeError } from "@bulkhead/native-namespaces";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { knownCapabilities } from "./capabilities.ts";
import { buildSpec } from "./oci-spec.ts";
import { ociResources } from "./resources.ts";

const text = fc.string({ unit: "binary", maxLength: 40 });
/** Mostly what a sensible person writes, so that every part is reached; else anything. */
const or = (sensible: string) => fc.oneof({ arbitrary: fc.constant(sensible), weight: 4 }, text);
const optional = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });

const inputs = fc.record({
  hostname: or("box"),
  args: fc.array(or("true"), { minLength: 1, maxLength: 5 }),
  env: fc.array(or("A=b"), { maxLength: 5 }),
  cwd: or("/"),
  user: or("1000:7"),
  capabilities: fc.subarray([...knownCapabilities]),
  cpuMillis: fc.integer({ min: 1, max: 512_000 }),
  cpuLimitMillis: optional(fc.integer({ min: 10, max: 512_000 })),
  memoryBytes: fc.integer({ min: 4 * 2 ** 20, max: 2 ** 50 }),
  pidsMax: optional(fc.integer({ min: 1, max: 4_194_304 })),
  cpuIds: fc.uniqueArray(fc.nat(1023), { maxLength: 8 }),
  path: or("/data"),
});

test("whatever a spec says, its plan compiles or is refused with a step and a place", () => {
  let compiled = 0;
  fc.assert(
    fc.property(inputs, (input) => {
      const { cpuMillis, cpuLimitMillis, memoryBytes, pidsMax } = input;
      const resources = {
        cpuMillis,
        memoryBytes,
        ...(cpuLimitMillis === undefined ? {} : { cpuLimitMillis }),
        ...(pidsMax === undefined ? {} : { pidsMax }),
      };
      const { spec, binds } = buildSpec({
        hostname: input.hostname,
        process: { args: input.args, env: input.env, cwd: input.cwd, user: input.user, stopSignal: 15 },
        resources: ociResources(resources, input.cpuIds, { disk: null, swap: true, ioWeight: true }),
        uidRange: { firstId: 0x1000_0000, ids: 65_536 },
        mounts: [{ hostPath: "/srv/data", path: input.path, readOnly: true, root: "/srv" }],
        files: [],
        shares: [],
        tmpfs: [],
        options: { capabilities: input.capabilities },
        openFilesMax: 20_000,
      });
      try {
        const plan = compilePlan({
          spec,
          rootfs: { kind: "overlay", layers: ["/l"], upper: "/u", work: "/w" },
          cgroup: { paths: { unified: "/sys/fs/cgroup/x" } },
          runDir: "/run/x",
          log: { path: "/log", maxBytes: 65_536, maxFiles: 2 },
          lease: null,
          imageUser: input.user,
          binds,
        });
        compiled += 1;
        return plan.bytes.length > 0;
      } catch (error) {
        return error instanceof NativeError && /^plan(\.\/|$)/.test(error.step);
      }
    }),
    { numRuns: 300 },
  );
  expect(compiled).toBeGreaterThan(20);
});
