import { expect, test } from "vitest";
import { checkEcho } from "./stream-setup.ts";

test("a configuration that came back as asked is accepted, with whatever the server adds", () => {
  expect(() => checkEcho("x", { subjects: ["a"], max_age: 5 }, { subjects: ["a"], max_age: 5, more: 1 })).not.toThrow();
});

test("what a server dropped or changed is named", () => {
  expect(() => checkEcho("the stream S", { allow_msg_ttl: true, max_age: 5 }, { max_age: 6 })).toThrow(
    expect.objectContaining({
      code: "BUS_UNAVAILABLE",
      message:
        "The NATS server made the stream S otherwise than asked: " +
        "allow_msg_ttl (asked true, got undefined), max_age (asked 5, got 6).",
    }) as Error,
  );
});
