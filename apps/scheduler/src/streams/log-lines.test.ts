import { channels } from "@bulkhead/contracts";
import { describe, expect, test } from "vitest";
import { type LogRecord, ndjsonRenderer, parseLogRecord, textRenderer } from "./log-lines.ts";

const at = "2026-11-23T10:00:00.123456789Z";
const record = (bytes: string | Uint8Array, partial = false): LogRecord => ({
  at,
  stream: "stdout",
  partial,
  bytes: Buffer.from(bytes),
});

describe("records", () => {
  test("have a time, a flag and the bytes as they were", () => {
    const parsed = parseLogRecord(channels.stderr, Buffer.from(`${at} P a b  c`));
    expect(parsed).toMatchObject({ at, stream: "stderr", partial: true });
    expect(Buffer.from(parsed?.bytes ?? []).toString()).toBe("a b  c");
    expect(parseLogRecord(channels.stdout, Buffer.from(`${at} F `))?.bytes).toHaveLength(0);
  });

  test.each(["", "x", at, `${at} X text`, `${at} Ftext`, "1 F text", `${"9".repeat(60)} F text`])(
    "%j is none",
    (text) => {
      expect(parseLogRecord(channels.stdout, Buffer.from(text))).toBeUndefined();
    },
  );

  test("come on output channels only", () => {
    expect(parseLogRecord(channels.stdin, Buffer.from(`${at} F a`))).toBeUndefined();
  });
});

test("text keeps bytes that are no text, and times only where lines begin", () => {
  const render = textRenderer(true);
  expect(Buffer.from(render(record(Buffer.from([0xff, 0xfe]))))).toEqual(
    Buffer.concat([Buffer.from(`${at} `), Buffer.from([0xff, 0xfe, 0x0a])]),
  );
  expect(Buffer.from(render(record("be", true))).toString()).toBe(`${at} be`);
  expect(Buffer.from(render(record("gin"))).toString()).toBe("gin\n");
});

test("a character that is cut between two records is whole in JSON lines", () => {
  const render = ndjsonRenderer();
  const euro = Buffer.from("€");
  const first = JSON.parse(Buffer.from(render(record(euro.subarray(0, 2), true))).toString()) as { text: string };
  const second = JSON.parse(Buffer.from(render(record(euro.subarray(2)))).toString()) as { text: string };
  expect(first.text + second.text).toBe("€");
});
