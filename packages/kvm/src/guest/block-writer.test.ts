import { Writable } from "node:stream";
import { expect, test } from "vitest";
import { BlockWriter } from "./block-writer.ts";

/** A stream that takes what it is given when the test says so. */
const slowStream = () => {
  const given: Buffer[] = [];
  const waiting: (() => void)[] = [];
  const stream = new Writable({
    write: (bytes: Buffer, _encoding, done) => {
      given.push(bytes);
      waiting.push(() => done());
    },
  });
  return { stream, given, take: () => waiting.shift()?.() };
};

test("a stream that takes nothing is given one thing, and then all that came meanwhile", async () => {
  const slow = slowStream();
  let taken = 0;
  const writer = new BlockWriter((bytes) => (taken += bytes));
  writer.write(Buffer.from("be"));
  writer.begin(slow.stream);
  for (let each = 0; each < 50_000; each += 1) writer.write(Buffer.from("x"));
  const ended = new Promise<void>((resolve) => writer.end(resolve));
  expect([slow.given.length, slow.stream.writableLength, writer.waiting, taken]).toEqual([1, 2, 50_002, 0]);
  while (writer.waiting > 0) {
    slow.take();
    await new Promise((resolve) => setImmediate(resolve));
  }
  await ended;
  expect(slow.given.length).toBeLessThan(8);
  expect(Buffer.concat(slow.given).toString()).toBe(`be${"x".repeat(50_000)}`);
  expect([taken, writer.waiting]).toEqual([50_002, 0]);
});

test("what was dropped goes nowhere, and a stream that failed takes what is left", async () => {
  const dropped = slowStream();
  const writer = new BlockWriter();
  writer.begin(dropped.stream);
  for (const each of ["a", "b", "c"]) writer.write(Buffer.from(each));
  writer.drop();
  dropped.take();
  await new Promise((resolve) => setImmediate(resolve));
  expect(dropped.given.map(String)).toEqual(["a"]);
  const failed = slowStream();
  failed.stream.on("error", () => undefined).destroy(new Error("gone"));
  const lost = new BlockWriter();
  lost.begin(failed.stream);
  for (const each of ["a", "b", "c"]) lost.write(Buffer.from(each));
  await new Promise<void>((resolve) => lost.end(resolve));
  expect(lost.waiting).toBe(0);
});
