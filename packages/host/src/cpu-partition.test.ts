import { expect, test } from "vitest";
import { cpusOf, partitionCpus, type CpuClaim } from "./cpu-partition.ts";

const shared = (name: string, cpuIds: number[] = []): CpuClaim => ({ name, dedicated: false, cpuIds });
const dedicated = (name: string, cpuIds: number[]): CpuClaim => ({ name, dedicated: true, cpuIds });

test("a dedicated CPU is taken from all shared instances and given back", () => {
  expect(partitionCpus([0, 1, 2], [shared("a"), dedicated("b", [1])])).toEqual({ possible: true, shared: [0, 2] });
  expect(partitionCpus([0, 1, 2], [shared("a")])).toEqual({ possible: true, shared: [0, 1, 2] });
});

test("one CPU cannot be promised twice", () => {
  const partition = partitionCpus([0, 1], [dedicated("a", [1]), dedicated("b", [1])]);
  expect(partition).toEqual({ possible: false, detail: "CPU 1 is wanted by b and has a" });
});

test("a CPU the host lacks, and a dedicated claim without CPUs, are not possible", () => {
  expect(partitionCpus([0, 1], [dedicated("a", [7])])).toMatchObject({ possible: false });
  expect(partitionCpus([0, 1], [dedicated("a", [])])).toMatchObject({ possible: false });
});

test("dedicated instances may take every CPU only while nobody shares", () => {
  expect(partitionCpus([0, 1], [dedicated("a", [0, 1])])).toEqual({ possible: true, shared: [] });
  expect(partitionCpus([0, 1], [dedicated("a", [0, 1]), shared("b")])).toMatchObject({ possible: false });
});

test("a shared instance keeps to its chosen CPUs as far as they are still shared", () => {
  expect(cpusOf(shared("a", [0, 1]), [1, 2])).toEqual([1]);
  expect(cpusOf(shared("a", [0]), [1, 2])).toEqual([1, 2]);
  expect(cpusOf(dedicated("a", [0]), [1, 2])).toEqual([0]);
});
