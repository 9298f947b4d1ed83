import { fleetError } from "@bulkhead/contracts";
import { expect, test } from "vitest";
import { BadMessage } from "./codec.ts";
import { decodeFailure, encodeFailure } from "./reply.ts";

test("an error of the table keeps code and detail over the wire", () => {
  const { code, text } = encodeFailure(fleetError("EXEC_FAILED", "no /bin/sh"));
  expect(code).toBe("EXEC_FAILED");
  expect(decodeFailure(text)).toMatchObject({ code: "EXEC_FAILED", message: "no /bin/sh" });
});

test("any other error says nothing of itself", () => {
  expect(encodeFailure(new Error("postgresql://a:hunter2@b")).text).not.toContain("hunter2");
});

test("a code this version does not know becomes INTERNAL and stays readable", () => {
  expect(decodeFailure(JSON.stringify({ code: "toString", detail: "odd" }))).toMatchObject({
    code: "INTERNAL",
    message: "toString: odd",
  });
});

test("a failure that does not fit is refused", () => {
  expect(() => decodeFailure('{"code":1}')).toThrow(BadMessage);
});

test("a text is cut between characters, and has to arrive whatever it quotes", () => {
  const { text } = encodeFailure(fleetError("EXEC_FAILED", `${"a".repeat(16 * 1024 - 1)}😀\0`));
  expect(decodeFailure(text)).toMatchObject({ message: "a".repeat(16 * 1024 - 1) });
});
