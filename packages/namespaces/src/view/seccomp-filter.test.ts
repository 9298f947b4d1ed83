import { describe, expect, test } from "vitest";
import { SeccompFilters } from "./seccomp-filter.ts";

const ld = 0x20;
const jeq = 0x15;
const jset = 0x45;
const and = 0x54;
const ret = 0x06;
const retA = 0x16;
const allow = 0x7fff_0000;
const errno = 0x0005_0000;
const notify = 0x7fc0_0000;

type Row = readonly [code: number, k: number, jt?: number, jf?: number];
const program = (...rows: Row[]): Uint8Array => {
  const view = new DataView(new ArrayBuffer(rows.length * 8));
  for (const [at, [code, k, jt = 0, jf = 0]] of rows.entries()) {
    view.setUint16(at * 8, code, true);
    view.setUint8(at * 8 + 2, jt);
    view.setUint8(at * 8 + 3, jf);
    view.setUint32(at * 8 + 4, k, true);
  }
  return new Uint8Array(view.buffer);
};

/** 1 is allowed, 2 by its first argument, everything else fails with EPERM; other architectures are killed. */
const sample = program(
  [ld, 4],
  [jeq, 0xc000_003e, 1, 0],
  [ret, 0x8000_0000],
  [ld, 0],
  [jeq, 1, 4, 0],
  [jeq, 2, 0, 2],
  [ld, 16],
  [jeq, 7, 1, 0],
  [ret, errno | 1],
  [ret, allow],
);

describe("one program", () => {
  const filters = new SeccompFilters([sample]);

  test("tells what is always, never and sometimes allowed", () => {
    expect([1, 2, 3].map((number) => filters.verdict(number))).toEqual(["allowed", "depends", "refused"]);
  });

  test("tells what happens with the rest", () => {
    expect(filters.describe(999)).toBe("fails with errno 1");
    expect(filters.describe(1)).toBe("allowed");
  });
});

test("of stacked programs the strictest answer counts", () => {
  const refusesOne = program([ld, 0], [jeq, 1, 0, 1], [ret, 0x8000_0000], [ret, allow]);
  const both = new SeccompFilters([refusesOne, sample]);
  expect(both.verdict(1)).toBe("refused");
  expect(both.describe(1)).toBe("kills the process");
  expect(both.verdict(2)).toBe("depends");
});

test("a test of both halves of an argument that lead to the same end is no condition", () => {
  const same = program([ld, 24], [and, 0xff], [jset, 1, 0, 1], [ret, allow], [ret, allow]);
  expect(new SeccompFilters([same]).verdict(5)).toBe("allowed");
});

test.each([
  ["a supervisor decides", program([ret, notify])],
  ["the value is computed from arguments", program([ld, 16], [retA, 0])],
  ["it runs off its end", program([ld, 0])],
])("%s: that depends", (_, code) => {
  const filters = new SeccompFilters([code]);
  expect(filters.verdict(0)).toBe("depends");
});

test("without any program everything is allowed", () => {
  expect(new SeccompFilters([]).verdict(0)).toBe("allowed");
});
