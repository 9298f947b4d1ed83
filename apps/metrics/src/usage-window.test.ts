import { expect, test } from "vitest";
import { Accumulator } from "./accumulator.ts";
import { UsageWindow, windowMs, type UsagePoint } from "./usage-window.ts";

const point = (atMs: number): UsagePoint => ({
  atMs,
  cpuNs: atMs * 2,
  throttledNs: 0,
  memoryBytes: atMs + 1,
  pids: 1,
  ioReadBytes: 3,
  ioWriteBytes: 4,
});

test("points come back in order and whole, while it grows and after it went round", () => {
  const window = new UsageWindow();
  for (let index = 0; index < 300; index += 1) {
    window.push(point(index * 1000));
    const points = window.points(index * 1000);
    const first = Math.max(0, index - 127);
    expect(points[0]).toEqual(point(first * 1000));
    expect(points.at(-1)).toEqual(point(index * 1000));
    expect(points).toHaveLength(index - first + 1);
  }
});

test("points older than ten minutes are not shown", () => {
  const window = new UsageWindow();
  window.push(point(0));
  window.push(point(1000));
  expect(window.points(windowMs)).toHaveLength(2);
  expect(window.points(windowMs + 1)).toHaveLength(1);
  expect(window.points(windowMs + 1001)).toEqual([]);
});

test("a counter that starts anew keeps what it had", () => {
  const counter = new Accumulator();
  expect([5, 7, 7, 2, 2, 10, 0, 1].map((value) => counter.update(value))).toEqual([5, 7, 7, 9, 9, 17, 17, 18]);
});
