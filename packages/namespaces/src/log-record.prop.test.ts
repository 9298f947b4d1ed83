import * as fc from "fast-check";
import { expect, test } from "vitest";
import { comparableTime, LineSplitter, parseLogRecord } from "./log-record.ts";

const line = fc
  .uint8Array({ maxLength: 60 })
  .map((bytes) => Buffer.from(bytes.map((byte) => (byte === 0x0a ? 0x20 : byte))));

/** Cuts bytes at any places. */
const pieces = (bytes: Buffer, cuts: readonly number[]): Buffer[] => {
  const places = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).toSorted((a, b) => a - b), bytes.length];
  return places.slice(1).map((end, at) => bytes.subarray(places[at], end));
};

test("lines are the same wherever the bytes that bring them are cut", () => {
  fc.assert(
    fc.property(fc.array(line, { maxLength: 12 }), line, fc.array(fc.nat(), { maxLength: 12 }), (lines, rest, cuts) => {
      const bytes = Buffer.concat([...lines.flatMap((each) => [each, Buffer.from("\n")]), rest]);
      const splitter = new LineSplitter();
      expect(pieces(bytes, cuts).flatMap((piece) => splitter.push(piece))).toEqual(lines);
      // What had no newline was kept.
      expect(splitter.push(Buffer.from("\n"))).toEqual([rest]);
    }),
  );
});

test("whatever an instance prints is in its record byte for byte, and no bytes at all make the reader throw", () => {
  const at = "2026-11-23T10:00:00.000000001Z";
  fc.assert(
    fc.property(line, fc.constantFrom("stdout", "stderr"), fc.constantFrom("F", "P"), (text, stream, tag) => {
      const record = Buffer.concat([Buffer.from(`${at} ${stream} ${tag} `), text]);
      expect(parseLogRecord(record)).toEqual({ at, stream, text, complete: tag === "F" });
      const parsed = parseLogRecord(text);
      expect(parsed === null || ["stdout", "stderr"].includes(parsed.stream)).toBe(true);
    }),
  );
});

test("times compare as text in the order in which they were, in any zone and with any fraction", () => {
  const time = fc.record({
    ms: fc.integer({ min: 0, max: 4_102_444_800_000 }),
    offsetHours: fc.integer({ min: -12, max: 14 }),
  });
  const written = ({ ms, offsetHours }: { ms: number; offsetHours: number }): string => {
    const local = new Date(ms + offsetHours * 3_600_000).toISOString().slice(0, -1);
    const hours = String(Math.abs(offsetHours)).padStart(2, "0");
    return `${local}${offsetHours < 0 ? "-" : "+"}${hours}:00`;
  };
  fc.assert(
    fc.property(time, time, (a, b) => {
      const [left, right] = [comparableTime(written(a)) ?? "", comparableTime(written(b)) ?? ""];
      expect(left).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$/);
      expect(Math.sign(left < right ? -1 : left > right ? 1 : 0)).toBe(Math.sign(a.ms - b.ms));
    }),
  );
});
