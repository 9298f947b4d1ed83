import { assert, property, uint8Array } from "fast-check";
import { expect, test } from "vitest";
import { parseReport } from "./report.ts";

const sector = (fields: (bytes: Buffer) => void): Buffer => {
  const bytes = Buffer.alloc(512);
  bytes.write("BHVMREP1", "latin1");
  bytes.writeInt32LE(-1, 12);
  fields(bytes);
  return bytes;
};

test("an end has a code or a signal, and one of both only", () => {
  const ended = (code: number, signal: number) =>
    parseReport(
      sector((bytes) => {
        bytes.writeUInt32LE(2, 8);
        bytes.writeInt32LE(code, 12);
        bytes.writeInt32LE(signal, 16);
        bytes.writeUInt32LE(3, 20);
      }),
    );
  expect(ended(7, 0)).toEqual({ state: "ended", exitCode: 7, signal: null, oomKills: 3 });
  expect(ended(-1, 9)).toEqual({ state: "ended", exitCode: null, signal: 9, oomKills: 3 });
  for (const [code, signal] of [
    [7, 9],
    [-1, 0],
    [256, 0],
    [-1, 65],
  ] as const) {
    expect(ended(code, signal)).toBeNull();
  }
});

test("a failure names step and place, and nothing in it reaches a terminal as anything but text", () => {
  const failed = sector((bytes) => {
    bytes.writeUInt32LE(3, 8);
    bytes.writeInt32LE(2, 24);
    bytes.write("exec", 32, "latin1");
    bytes.write("/no/\u001b[2J", 64, "latin1");
  });
  expect(parseReport(failed)).toEqual({ state: "failed", step: "exec", path: "/no/?[2J", errno: 2 });
});

test("nothing that a guest writes is more than a report", () => {
  expect(parseReport(Buffer.alloc(512))).toBeNull();
  expect(parseReport(Buffer.alloc(0))).toBeNull();
  assert(
    property(uint8Array({ minLength: 504, maxLength: 504 }), (rest) => {
      const report = parseReport(Buffer.concat([Buffer.from("BHVMREP1"), rest]));
      const words = report?.state === "failed" ? `${report.step}${report.path}` : "";
      expect(words).toMatch(/^[\x20-\x7e]*$/);
    }),
  );
});
