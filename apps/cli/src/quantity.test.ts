import { assert, integer, property } from "fast-check";
import { expect, test } from "vitest";
import { UsageError } from "./command.ts";
import { formatAge, formatBytes, formatCpu, parseBytes, parseCount, parseCpu, parseDuration } from "./quantity.ts";

test.each([
  ["4096", 4096],
  ["64Mi", 67_108_864],
  ["64MiB", 67_108_864],
  ["1.5Gi", 1_610_612_736],
  ["500M", 500_000_000],
  ["2k", 2_000],
])("%s is %i bytes", (text, bytes) => {
  expect(parseBytes(text, "memory")).toBe(bytes);
});

test.each(["", "Mi", "-1", "1.2.3", "64mi", "1e3", "64 Mi"])("%j is no size", (text) => {
  expect(() => parseBytes(text, "memory")).toThrow(UsageError);
});

test.each([
  ["0.5", 500],
  ["2", 2_000],
  ["250m", 250],
  ["0.001", 1],
])("%s CPUs are %i thousandths", (text, millis) => {
  expect(parseCpu(text, "cpu")).toBe(millis);
});

test.each(["half", "1c", "-1", ""])("%j is no number of CPUs", (text) => {
  expect(() => parseCpu(text, "cpu")).toThrow(UsageError);
});

test.each([
  ["500ms", 500],
  ["30s", 30_000],
  ["30", 30_000],
  ["5m", 300_000],
  ["1.5h", 5_400_000],
])("%s is %i ms", (text, milliseconds) => {
  expect(parseDuration(text, "timeout")).toBe(milliseconds);
});

test("a count is a whole number", () => {
  expect(parseCount("3", "replicas")).toBe(3);
  for (const text of ["-1", "1.5", "", "many"]) expect(() => parseCount(text, "replicas")).toThrow(UsageError);
});

test("what is shown can be typed again and means the same, to the shown digit", () => {
  assert(
    property(integer({ min: 0, max: 2 ** 45 }), (bytes) => {
      expect(Math.abs(parseBytes(formatBytes(bytes), "memory") - bytes)).toBeLessThanOrEqual(bytes * 0.05 + 1);
    }),
  );
  assert(
    property(integer({ min: 1, max: 1_024_000 }), (millis) => {
      expect(parseCpu(formatCpu(millis), "cpu")).toBe(millis);
    }),
  );
});

test.each([
  [5, "5s"],
  [125, "2m"],
  [8_000, "2h"],
  [200_000, "2d"],
])("%i seconds ago is %s", (seconds, text) => {
  const now = Date.parse("2026-01-02T03:04:05Z");
  expect(formatAge(new Date(now - seconds * 1000).toISOString(), now)).toBe(text);
});
