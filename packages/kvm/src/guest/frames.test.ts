import { array, assert, integer, property, record, uint8Array } from "fast-check";
import { expect, test } from "vitest";
import { encodeFrame, FrameError, FrameReader, frameTypes, type Frame } from "./frames.ts";

const frames = array(
  record({
    type: integer({ min: 0, max: 255 }),
    stream: integer({ min: 0, max: 65_535 }),
    payload: uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
  }),
  { maxLength: 12 },
);

test("frames arrive as they were sent, however the stream is cut", () => {
  assert(
    property(frames, array(integer({ min: 1, max: 50 }), { minLength: 1 }), (sent, cuts) => {
      const bytes = Buffer.concat(sent.map(({ type, stream, payload }) => encodeFrame(type, stream, payload)));
      const reader = new FrameReader();
      const got = [];
      for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
        const size = cuts[turn % cuts.length] ?? 1;
        got.push(...reader.take(bytes.subarray(at, at + size)));
        at += size;
      }
      expect(got.map((frame) => ({ ...frame, payload: Buffer.from(frame.payload) }))).toEqual(sent);
    }),
  );
});

test("whatever a guest sends is frames or an error, and never more than one unfinished frame is held", () => {
  assert(
    property(uint8Array({ maxLength: 2000 }), (bytes) => {
      const take = (): Frame[] => new FrameReader().take(Buffer.from(bytes));
      let largest = 0;
      try {
        largest = Math.max(0, ...take().map(({ payload }) => payload.length));
      } catch (error) {
        largest = error instanceof FrameError ? 0 : Infinity;
      }
      expect(largest).toBeLessThanOrEqual(65_536);
    }),
  );
  const huge = encodeFrame(frameTypes.output, 1);
  huge.writeUInt32LE(0xffff_ffff, 0);
  expect(() => new FrameReader().take(huge)).toThrow(/4294967295 bytes/);
});
