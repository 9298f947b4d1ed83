import { text } from "node:stream/consumers";
import { expect, test } from "vitest";
import { GuestOutput } from "./guest-output.ts";

test("bytes are taken when they are asked for, and the rest waits", async () => {
  let taken = 0;
  const output = new GuestOutput((bytes) => (taken += bytes));
  for (let each = 0; each < 100_000; each += 1) output.add(Buffer.from("x"));
  expect([taken, output.waiting]).toEqual([0, 100_000]);
  output.read(0);
  // One block is its reader's by now, and no more.
  expect(taken).toBeLessThanOrEqual(65_536);
  expect(output.readableLength).toBe(taken);
  output.finish();
  expect((await text(output)).length).toBe(100_000);
  expect([taken, output.waiting]).toEqual([100_000, 0]);
});

test("what nobody wants to read any more is taken", () => {
  let taken = 0;
  const output = new GuestOutput((bytes) => (taken += bytes));
  output.add(Buffer.from("word"));
  output.destroy();
  expect(taken).toBe(4);
  output.add(Buffer.from("more"));
  output.finish();
  expect([taken, output.waiting]).toEqual([8, 0]);
});
