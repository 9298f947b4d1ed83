import { expect, test } from "vitest";
import { RateLimiter } from "./rate-limit.ts";

const limiter = (maxKeys = 10) => {
  const clock = { ms: 0 };
  return { clock, limit: new RateLimiter({ burst: 2, perSecond: 4, maxKeys, nowMs: () => clock.ms }) };
};

test("a burst is allowed, then the rate, and the wait is told", () => {
  const { clock, limit } = limiter();
  expect([limit.take("a"), limit.take("a"), limit.take("a")]).toEqual([0, 0, 250]);
  clock.ms = 249;
  expect(limit.take("a")).toBeGreaterThan(0);
  clock.ms = 250;
  expect(limit.take("a")).toBe(0);
  expect(limit.take("a")).toBe(250);
});

test("keys do not share a bucket, and an idle one refills to the burst only", () => {
  const { clock, limit } = limiter();
  limit.take("a");
  limit.take("a");
  expect(limit.take("b")).toBe(0);
  clock.ms = 60_000;
  expect([limit.take("a"), limit.take("a"), limit.take("a")]).toEqual([0, 0, 250]);
});

test("the number of keys is bounded: the one unused for longest is forgotten", () => {
  const { limit } = limiter(2);
  limit.take("a");
  limit.take("a");
  limit.take("b");
  limit.take("a");
  limit.take("c");
  expect(limit.take("a")).toBeGreaterThan(0);
  expect([limit.take("b"), limit.take("b")]).toEqual([0, 0]);
});
