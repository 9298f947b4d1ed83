import * as fc from "fast-check";
import { expect, test } from "vitest";
import { cpusOf, partitionCpus, type CpuClaim } from "./cpu-partition.ts";

const online = [0, 1, 2, 3, 4, 5];
const claims = fc.array(
  fc.record({
    name: fc.uuid(),
    dedicated: fc.boolean(),
    cpuIds: fc.uniqueArray(fc.integer({ min: 0, max: 6 }), { maxLength: 3 }),
    sharesToo: fc.boolean(),
  }),
  { maxLength: 5 },
);

const dedicatedTo = (given: readonly CpuClaim[]): number[] =>
  given.flatMap(({ dedicated, cpuIds }) => (dedicated ? cpuIds : []));

test("no shared instance has a dedicated CPU, whatever is claimed by whom", () => {
  fc.assert(
    fc.property(claims, fc.boolean(), (given, othersShare) => {
      const { shared } = partitionCpus(online, given, othersShare);
      expect(shared.filter((cpu) => dedicatedTo(given).includes(cpu))).toEqual([]);
      for (const claim of given.filter(({ dedicated }) => !dedicated)) {
        expect(cpusOf(claim, shared).filter((cpu) => !shared.includes(cpu))).toEqual([]);
      }
    }),
  );
});

test("without a problem each dedicated CPU is there and has one owner, and whoever shares has one at least", () => {
  fc.assert(
    fc.property(claims, fc.boolean(), (given, othersShare) => {
      const { shared, problem } = partitionCpus(online, given, othersShare);
      const dedicated = dedicatedTo(given);
      const isSound =
        new Set(dedicated).size === dedicated.length &&
        dedicated.every((cpu) => online.includes(cpu)) &&
        given.every((claim) => !claim.dedicated || claim.cpuIds.length > 0) &&
        (shared.length > 0 || !(othersShare || given.some((claim) => !claim.dedicated)));
      expect(problem === null).toBe(isSound);
      const all = [...shared, ...dedicated].toSorted((a, b) => a - b);
      expect(problem === null && all.join(",") !== online.join(",")).toBe(false);
    }),
  );
});
