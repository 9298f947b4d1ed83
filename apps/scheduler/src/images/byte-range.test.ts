import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { expect, test } from "vitest";
import { firstBytes, parseRange } from "./byte-range.ts";

test.each<[string | undefined, ReturnType<typeof parseRange>]>([
  [undefined, undefined],
  ["bytes=0-", { start: 0, end: 99 }],
  ["bytes=10-19", { start: 10, end: 19 }],
  ["bytes=90-200", { start: 90, end: 99 }],
  ["bytes=-10", { start: 90, end: 99 }],
  ["bytes=-200", { start: 0, end: 99 }],
  ["bytes=99-99", { start: 99, end: 99 }],
  ["bytes=100-", "unsatisfiable"],
  ["bytes=-0", "unsatisfiable"],
  ["bytes=20-10", undefined],
  ["bytes=0-1,5-6", undefined],
  ["bytes=-", undefined],
  ["lines=0-1", undefined],
])("%s of 100 bytes", (header, range) => {
  expect(parseRange(header, 100)).toEqual(range);
});

test("nothing of an empty blob can be asked for", () => {
  expect(parseRange("bytes=0-", 0)).toBe("unsatisfiable");
});

test("the source is closed after the bytes that were wanted", async () => {
  const source = Readable.from([Buffer.from("abc"), Buffer.from("def"), Buffer.from("ghi")]);
  expect((await buffer(Readable.from(firstBytes(source, 4), { objectMode: false }))).toString()).toBe("abcd");
  expect(source.destroyed).toBe(true);
});
