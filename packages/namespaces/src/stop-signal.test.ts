import { describe, expect, test } from "vitest";
import { hears } from "./stop-signal.ts";

const status = (masks: { pid?: string; blocked?: string; caught?: string }): string =>
  [
    "Name:\tserver",
    `NSpid:\t${masks.pid ?? "812\t1"}`,
    "SigPnd:\t0000000000000000",
    `SigBlk:\t${masks.blocked ?? "0000000000000000"}`,
    "SigIgn:\t0000000000004000",
    `SigCgt:\t${masks.caught ?? "0000000000000000"}`,
  ].join("\n");

describe("a first process hears a signal", () => {
  test("it has a handler for", () => expect(hears(status({ caught: "0000000000004000" }), 15)).toBe(true));
  test("it blocks, to wait for it", () => expect(hears(status({ blocked: "0000000000004000" }), 15)).toBe(true));
  test("that nobody can refuse", () => expect(hears(status({}), 9)).toBe(true));
  test("of the upper half, for real time", () => {
    expect(hears(status({ caught: "8000000000000000" }), 64)).toBe(true);
    expect(hears(status({ caught: "8000000000000000" }), 63)).toBe(false);
  });
  test("and no other", () => {
    expect(hears(status({ caught: "0000000000000002" }), 15)).toBe(false);
    expect(hears(status({}), 15)).toBe(false);
  });
});

test("a process that is not the first of its namespace has a default action", () => {
  expect(hears(status({ pid: "812\t7" }), 15)).toBe(true);
  expect(hears(status({ pid: "1" }), 15)).toBe(true);
});
