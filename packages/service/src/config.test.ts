import { isFleetError } from "@bulkhead/contracts";
import { Type } from "typebox";
import { describe, expect, test } from "vitest";
import { loadConfig, printConfig } from "./config.ts";
import { setting } from "./setting.ts";

const Sample = Type.Object({
  port: setting("T_PORT", Type.Integer({ default: 7481, minimum: 0, maximum: 65_535 })),
  level: setting("T_LEVEL", Type.Union([Type.Literal("info"), Type.Literal("warn")], { default: "info" })),
  strict: setting("T_STRICT", Type.Boolean({ default: false })),
  ratio: setting("T_RATIO", Type.Number({ default: 0.5 })),
  allow: setting("T_ALLOW", Type.Array(Type.String({ pattern: "^/" }), { default: [] }), { separator: ":" }),
  labels: setting("T_LABELS", Type.Record(Type.String(), Type.String(), { default: {} })),
  databaseUrl: setting("T_DATABASE_URL", Type.String({ minLength: 1 })),
  token: setting("T_TOKEN", Type.Optional(Type.String({ minLength: 8 })), { secret: true }),
});

const failure = (environment: Record<string, string>): string => {
  try {
    loadConfig(Sample, environment);
  } catch (error) {
    if (isFleetError(error) && error.code === "CONFIG_INVALID") return error.message;
    throw error;
  }
  throw new Error("no failure");
};

describe("loadConfig", () => {
  test("takes defaults, and the environment over them, in the schema's types", () => {
    const config = loadConfig(Sample, {
      T_DATABASE_URL: "postgresql://a@b/c",
      T_STRICT: "1",
      T_RATIO: "0.25",
      T_ALLOW: "/srv:/data",
      T_LABELS: "zone=a,note=x=y",
      T_LEVEL: "",
    });
    expect(config).toEqual({
      port: 7481,
      level: "info",
      strict: true,
      ratio: 0.25,
      allow: ["/srv", "/data"],
      labels: { zone: "a", note: "x=y" },
      databaseUrl: "postgresql://a@b/c",
    });
  });

  test("reports every bad variable at once, and no secret", () => {
    const message = failure({
      T_PORT: "70000",
      T_LEVEL: "loud",
      T_STRICT: "maybe",
      T_RATIO: "half",
      T_ALLOW: "/srv:data",
      T_TOKEN: "short!",
    });
    for (const variable of ["T_PORT", "T_LEVEL", "T_STRICT", "T_RATIO", "T_ALLOW", "T_DATABASE_URL", "T_TOKEN"]) {
      expect(message).toContain(variable);
    }
    expect(message).toContain("T_DATABASE_URL is not set");
    expect(message).toContain('must be one of info, warn (it is "loud")');
    expect(message).not.toContain("short!");
  });

  test.each(["1e3", "0x10", "12 ", "1.5", "NaN", "--1"])("an integer is not written %j", (text) => {
    expect(failure({ T_DATABASE_URL: "x", T_PORT: text })).toContain("T_PORT");
  });

  test("a password in a URL is masked in messages and in the printed configuration", () => {
    expect(failure({ T_DATABASE_URL: "x", T_ALLOW: "redis://me:hunter2@host/" })).not.toContain("hunter2");
    const config = loadConfig(Sample, { T_DATABASE_URL: "postgresql://a:hunter2@b/c", T_TOKEN: "longenough" });
    const printed = printConfig(Sample, config);
    expect(printed).toContain("T_DATABASE_URL=postgresql://a:[redacted]@b/c");
    expect(printed).toContain("T_TOKEN=[redacted]");
    expect(printed).toContain("T_PORT=7481");
    expect(printed).not.toMatch(/hunter2|longenough/);
  });

  test("a variable that is not set is printed as such", () => {
    expect(printConfig(Sample, loadConfig(Sample, { T_DATABASE_URL: "x" }))).toContain("# T_TOKEN is not set");
  });

  test("the result is frozen, deeply, and shares nothing with the schema", () => {
    const config = loadConfig(Sample, { T_DATABASE_URL: "x" });
    expect(Object.isFrozen(config)).toBe(true);
    expect(Object.isFrozen(config.allow)).toBe(true);
    expect(Object.isFrozen((Sample.properties.allow as { default?: unknown }).default)).toBe(false);
  });

  test("a property that is not a setting is a programming error", () => {
    expect(() => loadConfig(Type.Object({ port: Type.Integer() }), {})).toThrow(TypeError);
  });
});
