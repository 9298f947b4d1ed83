import { describe, expect, test } from "vitest";
import { checkServer, compareVersions, featuresInUse } from "./server-features.ts";

test.each([
  ["2.9.10", "2.9.9", 1],
  ["2.10.0", "2.9.10", 1],
  ["2.9.10-beta.1", "2.9.10", 0],
  ["2.9", "2.9.0", 0],
  ["v-next", "0", 0],
])("%s against %s", (a, b, sign) => {
  expect(Math.sign(compareVersions(a, b))).toBe(sign);
});

describe("a server", () => {
  test.each(["2.9.10", "2.10.29", "2.14.5"])("of version %s is accepted", (version) => {
    expect(() => checkServer({ version, headers: true })).not.toThrow();
  });

  test("that is too old is refused with every missing feature by name", () => {
    expect(() => checkServer({ version: "2.1.9" })).toThrow(
      expect.objectContaining({ code: "BUS_UNAVAILABLE" }) as Error,
    );
    for (const { feature } of featuresInUse) {
      expect(() => checkServer({ version: "2.1.9" })).toThrow(feature);
    }
    expect(() => checkServer({ version: "2.8.4", headers: true })).toThrow("since 2.9.0");
    expect(() => checkServer({ version: "2.8.4", headers: true })).not.toThrow("since 2.2.0");
  });

  test("with headers switched off is refused", () => {
    expect(() => checkServer({ version: "2.14.5", headers: false })).toThrow("switched off");
  });
});
