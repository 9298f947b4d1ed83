import { readFileSync } from "node:fs";
import { instanceStates, isFleetError } from "@bulkhead/contracts";
import { describe, expect, test } from "vitest";
import { assertMove, canMove, drawMoves, moves } from "./index.ts";

const catchFrom = (action: () => void): unknown => {
  try {
    action();
  } catch (error) {
    return error;
  }
  return undefined;
};

describe("states", () => {
  test("the README holds exactly the table", () => {
    expect(readFileSync(new URL("../README.md", import.meta.url), "utf8")).toContain(drawMoves());
  });

  test("every state of the contract has a row and every move leads to another state of it", () => {
    expect(Object.keys(moves).toSorted()).toEqual([...instanceStates].toSorted());
    for (const [from, row] of Object.entries(moves)) {
      for (const to of Object.keys(row)) {
        expect(instanceStates).toContain(to);
        expect(to).not.toBe(from);
      }
    }
  });

  test("every state can be reached from pending", () => {
    const reached = new Set<string>(["pending"]);
    for (const state of reached) for (const to of Object.keys(moves[state as keyof typeof moves])) reached.add(to);
    expect([...reached].toSorted()).toEqual([...instanceStates].toSorted());
  });

  test("staying is news, not a move", () => {
    for (const state of instanceStates) expect(canMove(state, state)).toBe(true);
  });

  test.each([
    ["pending", "running"],
    ["running", "assigned"],
    ["stopping", "assigned"],
    ["backoff", "assigned"],
    ["pending", "failed"],
  ] as const)("%s cannot become %s", (from, to) => {
    expect(canMove(from, to)).toBe(false);
    const error = catchFrom(() => assertMove(from, to));
    expect(isFleetError(error) && error.code).toBe("STATE_CONFLICT");
    expect(String(error)).toContain(`from ${from} to ${to}`);
  });
});
