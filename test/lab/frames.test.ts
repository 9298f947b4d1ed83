import { describe, expect, test } from "vitest";
import { encodeFrame, frameKinds, FrameReader, type Frame } from "./frames.ts";

const frames: Frame[] = [
  { kind: frameKinds.order, command: 1, payload: Buffer.from('{"argv":["true"]}') },
  { kind: frameKinds.stdout, command: 0xffff_fffe, payload: Buffer.from([0, 255, 10, 13, 0]) },
  { kind: frameKinds.input, command: 2, payload: Buffer.alloc(0) },
  { kind: frameKinds.stderr, command: 3, payload: Buffer.alloc(70_000, "x") },
];
const bytes = Buffer.concat(frames.map(encodeFrame));

describe("frames", () => {
  test.each([1, 2, 9, 10, 4096, bytes.length])("come out as they went in, cut every %d bytes", (size) => {
    const reader = new FrameReader();
    const read: Frame[] = [];
    for (let at = 0; at < bytes.length; at += size) read.push(...reader.push(bytes.subarray(at, at + size)));
    expect(read).toEqual(frames);
  });

  test("of no known kind, or of an impossible size, are refused", () => {
    const wrongKind = encodeFrame({ ...frames[0]!, kind: 99 as Frame["kind"] });
    expect(() => new FrameReader().push(wrongKind)).toThrow(/kind 99/);
    const tooLong = encodeFrame(frames[0]!);
    tooLong.writeUInt32LE(0xffff_ffff, 0);
    expect(() => new FrameReader().push(tooLong)).toThrow(/4294967295 bytes/);
  });
});
