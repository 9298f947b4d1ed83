import { expect, test } from "vitest";
import { cpusOf, partitionCpus, type CpuClaim } from "./cpu-partition.ts";

const shared = (name: string, cpuIds: number[] = []): CpuClaim => ({
  name,
  dedicated: false,
  cpuIds,
  sharesToo: false,
});
const dedicated = (name: string, cpuIds: number[], sharesToo = false): CpuClaim => ({
  name,
  dedicated: true,
  cpuIds,
  sharesToo,
});

test("a dedicated CPU is taken from all shared instances and given back", () => {
  const claims = [shared("a"), dedicated("b", [1])];
  expect(partitionCpus([0, 1, 2], claims, false)).toEqual({ shared: [0, 2], problem: null });
  expect(partitionCpus([0, 1, 2], [shared("a")], true)).toEqual({ shared: [0, 1, 2], problem: null });
});

test("one CPU cannot be promised twice", () => {
  const { problem } = partitionCpus([0, 1], [dedicated("a", [1]), dedicated("b", [1])], false);
  expect(problem).toBe("CPU 1 is wanted by b and has a");
});

test("a CPU the host lacks, and a dedicated claim without CPUs, are not possible", () => {
  expect(partitionCpus([0, 1], [dedicated("a", [7])], false).problem).toContain("not usable");
  expect(partitionCpus([0, 1], [dedicated("a", [])], false).problem).toContain("no CPUs assigned");
});

test("dedicated instances may take every CPU only while nobody shares, whether he claims any or not", () => {
  expect(partitionCpus([0, 1], [dedicated("a", [0, 1])], false)).toEqual({ shared: [], problem: null });
  expect(partitionCpus([0, 1], [dedicated("a", [0, 1]), shared("b")], false).problem).toContain("would have none");
  expect(partitionCpus([0, 1], [dedicated("a", [0, 1])], true).problem).toContain("would have none");
});

test("what cannot be is kept apart as far as it can", () => {
  expect(partitionCpus([0, 1, 2], [dedicated("a", [0]), dedicated("b", [0, 1])], true).shared).toEqual([2]);
});

test("a shared instance keeps to its chosen CPUs as far as they are still shared", () => {
  expect(cpusOf(shared("a", [0, 1]), [1, 2])).toEqual([1]);
  expect(cpusOf(shared("a", [0]), [1, 2])).toEqual([1, 2]);
  expect(cpusOf(dedicated("a", [0]), [1, 2])).toEqual([0]);
  expect(cpusOf(dedicated("a", [0], true), [1, 2])).toEqual([0, 1, 2]);
});
