import * as fc from "fast-check";
import { expect, test } from "vitest";
import { hears } from "./stop-signal.ts";

const mask = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
const bit = (signal: number): bigint => 1n << BigInt(signal - 1);
const status = (caught: bigint, blocked: bigint, pids: readonly number[]): string => {
  const hex = (value: bigint): string => value.toString(16).padStart(16, "0");
  return `Name:\tx\nNSpid:\t${pids.join("\t")}\nSigBlk:\t${hex(blocked)}\nSigIgn:\t${hex(~caught & 0xffn)}\nSigCgt:\t${hex(caught)}\n`;
};

test("a first process hears what it catches or blocks, and what nobody can keep from it; every other hears all", () => {
  fc.assert(
    fc.property(
      mask,
      mask,
      fc.integer({ min: 1, max: 64 }),
      fc.integer({ min: 2, max: 9 }),
      (caught, blocked, signal, other) => {
        const heard = ((caught | blocked) & bit(signal)) !== 0n || signal === 9 || signal === 19;
        expect(hears(status(caught, blocked, [4711, 1]), signal)).toBe(heard);
        expect(hears(status(caught, blocked, [4711, other]), signal)).toBe(true);
        // One of the host's own is first in no namespace that counts here.
        expect(hears(status(caught, blocked, [1]), signal)).toBe(true);
      },
    ),
  );
});
