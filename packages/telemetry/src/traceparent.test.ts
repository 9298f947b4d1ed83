import { context, defaultTextMapGetter, defaultTextMapSetter, ROOT_CONTEXT, trace } from "@opentelemetry/api";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { withSpan } from "./span.ts";
import { startTelemetry, type Telemetry } from "./telemetry.ts";
import {
  activeTraceparent,
  formatTraceparent,
  parseTraceparent,
  TraceContextPropagator,
  withTraceparent,
} from "./traceparent.ts";

const valid = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

describe("a traceparent", () => {
  test.each([valid, valid.replace(/01$/, "00")])("%s comes back as it went", (text) => {
    const parsed = parseTraceparent(text);
    expect(parsed && formatTraceparent(parsed)).toBe(text);
  });

  test("of a later version may have more fields; unknown flags are not passed on", () => {
    const parsed = parseTraceparent(valid.replace(/^00/, "01").replace(/01$/, "ff-what-the-future-brings"));
    expect(parsed && formatTraceparent(parsed)).toBe(valid);
  });

  test.each([
    "",
    "rubbish",
    valid.replace(/^00/, "ff"),
    `${valid}-more`,
    valid.toUpperCase(),
    `00-${"0".repeat(32)}-b7ad6b7169203331-01`,
    `00-0af7651916cd43dd8448eb211c80319c-${"0".repeat(16)}-01`,
    valid.slice(0, -1),
  ])("%j is not one", (text) => {
    expect(parseTraceparent(text)).toBeUndefined();
  });
});

describe("the propagator", () => {
  const propagator = new TraceContextPropagator();

  test("writes what it reads, tracestate included", () => {
    const carrier = { traceparent: valid, tracestate: "vendor=value" };
    const active = propagator.extract(ROOT_CONTEXT, carrier, defaultTextMapGetter);
    const out: Record<string, string> = {};
    propagator.inject(active, out, defaultTextMapSetter);
    expect(out).toEqual(carrier);
  });

  test("ignores a header that is not valid, and writes nothing outside of a trace", () => {
    const active = propagator.extract(ROOT_CONTEXT, { traceparent: "x" }, defaultTextMapGetter);
    const out: Record<string, string> = {};
    propagator.inject(active, out, defaultTextMapSetter);
    expect([active, out]).toEqual([ROOT_CONTEXT, {}]);
  });
});

describe("without a collector", () => {
  let telemetry: Telemetry;
  beforeAll(async () => {
    telemetry = await startTelemetry({ service: "test" });
  });
  afterAll(() => telemetry[Symbol.asyncDispose]());

  test("spans have ids that their children share, across awaits", async () => {
    const seen: (string | undefined)[] = [];
    await withSpan("test.outer", {}, async () => {
      seen.push(activeTraceparent());
      await new Promise((resolve) => setImmediate(resolve));
      await withSpan("test.inner", {}, async () => seen.push(activeTraceparent()));
      seen.push(activeTraceparent());
    });
    const [outer = "", inner = "", after] = seen;
    expect(outer).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
    expect(after).toBe(outer);
    expect(inner.slice(0, 36)).toBe(outer.slice(0, 36));
    expect(inner).not.toBe(outer);
    expect(activeTraceparent()).toBeUndefined();
  });

  test("a stored traceparent is the parent, with its decision not to sample", async () => {
    const stored = valid.replace(/01$/, "00");
    const inside = await withTraceparent(stored, () => withSpan("test.child", {}, async () => activeTraceparent()));
    expect(inside).toMatch(/^00-0af7651916cd43dd8448eb211c80319c-[0-9a-f]{16}-00$/);
    expect(inside).not.toBe(stored);
  });

  test("without a valid one the child starts a trace of its own, not the surrounding one", async () => {
    await withSpan("test.outer", {}, async () => {
      const outer = activeTraceparent()?.slice(3, 35);
      const inner = withTraceparent(null, () => trace.getTracer("t").startSpan("x").spanContext().traceId);
      expect(inner).not.toBe(outer);
    });
  });

  test("a root span leaves its trace", () => {
    withTraceparent(valid, () => {
      const span = trace.getTracer("t").startSpan("x", { root: true });
      expect(span.spanContext().traceId).not.toBe(valid.slice(3, 35));
      trace.getTracer("t").startActiveSpan("y", { root: true }, context.active(), (active) => {
        expect(activeTraceparent()).toContain(active.spanContext().traceId);
        expect(active.spanContext().traceId).not.toBe(valid.slice(3, 35));
      });
    });
  });

  test("an error passes through a span", async () => {
    await expect(
      withSpan("test.fails", {}, async () => {
        throw new Error("inside");
      }),
    ).rejects.toThrow("inside");
  });

  test("ten thousand ids are all different", () => {
    const ids = Array.from({ length: 10_000 }, () => trace.getTracer("t").startSpan("x").spanContext());
    expect(new Set(ids.map(({ spanId }) => spanId)).size).toBe(10_000);
    expect(new Set(ids.map(({ traceId }) => traceId)).size).toBe(10_000);
  });
});
