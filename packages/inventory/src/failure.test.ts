import { fleetError } from "@bulkhead/contracts";
import { describe, expect, test } from "vitest";
import { databaseFailure, isRefusedValue, isRetryable, isUniqueViolation, sqlState } from "./failure.ts";

const failure = (members: object, message = "x") => Object.assign(new Error(message), members);
const wrapped = (cause: unknown) => new Error("outer", { cause });

describe("databaseFailure", () => {
  test.each([
    ["refused", failure({ code: "ECONNREFUSED" })],
    ["no socket", failure({ code: "ENOENT" })],
    ["shutting down", failure({ code: "57P01" })],
    ["starting up", failure({ code: "57P03" })],
    ["too many connections", failure({ code: "53300" })],
    ["connection exception", failure({ code: "08006" })],
    ["a standby", failure({ code: "25006" })],
    ["terminated", failure({}, "Connection terminated unexpectedly")],
    ["pool timeout", failure({}, "timeout exceeded when trying to connect")],
    ["Prisma's", failure({ code: "P1001" })],
    ["several addresses", new AggregateError([failure({ code: "ECONNREFUSED" })])],
    ["wrapped", wrapped(wrapped(failure({ code: "ECONNRESET" })))],
  ])("%s is DATABASE_UNAVAILABLE with its cause", (_name, error) => {
    expect(databaseFailure(error)).toMatchObject({ code: "DATABASE_UNAVAILABLE", cause: error });
  });

  test.each([
    ["a syntax error", failure({ code: "42601" })],
    ["a check", failure({ code: "23514" })],
    ["one of ours", fleetError("NOT_FOUND", "Connection terminated by name only")],
    ["no error at all", "ECONNREFUSED"],
    ["nothing", undefined],
  ])("%s stays what it is", (_name, error) => {
    expect(databaseFailure(error)).toBe(error);
  });
});

test("SQLSTATE is found through wrapping and in Prisma's driver errors, and is not Prisma's own code", () => {
  expect(sqlState(wrapped(failure({ code: "40001" })))).toBe("40001");
  expect(sqlState(wrapped({ originalCode: "23505" }))).toBe("23505");
  expect(sqlState(failure({ code: "P2002" }))).toBeUndefined();
  expect(sqlState(null)).toBeUndefined();
});

test("deadlocks and serialization failures may be repeated, nothing else", () => {
  expect(["40001", "40P01", "23505", "57P01"].map((code) => isRetryable(failure({ code })))).toEqual([
    true,
    true,
    false,
    false,
  ]);
});

test("unique violations are told apart by the name of their constraint", () => {
  const error = failure({ code: "23505", constraint: "host_name_key" });
  expect([
    isUniqueViolation(error),
    isUniqueViolation(error, "host_name_key"),
    isUniqueViolation(error, "other"),
  ]).toEqual([true, true, false]);
  expect(isUniqueViolation(failure({ code: "P2002" }))).toBe(true);
});

test.each([
  ["22P05", true],
  ["22008", true],
  ["54000", true],
  ["23514", true],
  ["23505", false],
  ["40001", false],
  ["57014", false],
  ["53100", false],
])("%s is the values' own fault: %s", (code, wanted) => {
  expect(isRefusedValue(wrapped(failure({ code })))).toBe(wanted);
});
