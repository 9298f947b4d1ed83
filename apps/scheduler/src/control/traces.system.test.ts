import { ProxyTracerProvider, type Span, type SpanContext, type Tracer, trace } from "@opentelemetry/api";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { formatTraceparent, parseTraceparent } from "@bulkhead/telemetry";
import { Rig } from "./testing/rig.ts";
import { inTraces } from "./traces.ts";

let rig: Rig;
beforeAll(async () => {
  rig = await Rig.start();
});
afterAll(() => rig[Symbol.asyncDispose]());
beforeEach(() => rig.reset());
afterEach(() => trace.disable());

interface Recorded {
  readonly name: string;
  readonly parent: SpanContext | undefined;
  status: unknown;
  ended: boolean;
}

/** A tracer that only remembers. */
const record = (): Recorded[] => {
  const spans: Recorded[] = [];
  const tracer = {
    startSpan: (name, _options, parentContext) => {
      const parent = parentContext === undefined ? undefined : trace.getSpanContext(parentContext);
      const span: Recorded = { name, parent, status: undefined, ended: false };
      spans.push(span);
      return {
        spanContext: () => ({ traceId: parent?.traceId ?? "f".repeat(32), spanId: "e".repeat(16), traceFlags: 1 }),
        setStatus: (status: unknown) => void (span.status = status),
        end: () => void (span.ended = true),
      } as unknown as Span;
    },
    startActiveSpan: () => {
      throw new Error("not expected");
    },
  } as Tracer;
  trace.setGlobalTracerProvider({ getTracer: (name) => (name === "bulkhead.scheduler" ? tracer : silent) });
  return spans;
};
/** Of no global provider: a tracer asked for by name would ask the provider above for itself. */
const silent = new ProxyTracerProvider().getTracer("nobody");

const traceId = "0af7651916cd43dd8448eb211c80319c";
const requestSpan = "b7ad6b7169203331";
const agentSpan = "00f067aa0ba902b7";

test("one trace goes from the request through plan, commit and agent to the fold of its report", async () => {
  const spans = record();
  const loop = await rig.control();
  const agent = await rig.joined();
  // What packages/node does: the report carries the span of the start, below the assignment's.
  const carried: (string | undefined)[] = [];
  agent.outcome = ({ traceparent }) => {
    carried.push(traceparent);
    const parent = parseTraceparent(traceparent ?? "");
    return {
      state: "running",
      ...(parent === undefined ? {} : { traceparent: formatTraceparent({ ...parent, spanId: agentSpan }) }),
    };
  };
  const traceparent = `00-${traceId}-${requestSpan}-01`;
  await rig.fleet.addWorkload("traced", {}, { traceId, traceparent });
  await rig.fleet.addWorkload("untraced");
  loop.wake();
  await vi.waitFor(() => expect(spans.some(({ name }) => name === "scheduler.fold")).toBe(true), 15_000);
  const seen = spans.map(({ name, parent }) => `${name} ${parent?.traceId === traceId} ${parent?.spanId}`);
  expect(new Set(seen)).toEqual(
    new Set([
      `scheduler.plan true ${requestSpan}`,
      `scheduler.commit true ${requestSpan}`,
      `scheduler.fold true ${agentSpan}`,
    ]),
  );
  await vi.waitFor(() => expect(spans.every(({ ended }) => ended)).toBe(true), 15_000);
  expect(carried).toContain(traceparent);
});

test("work that fails marks the span of every trace it was for, and passes its error on", async () => {
  const spans = record();
  const other = `00-${"1".repeat(32)}-${requestSpan}-01`;
  const parents = [`00-${traceId}-${requestSpan}-01`, other, other, "00-broken", null, undefined];
  const work = inTraces("scheduler.test", { parents, attributes: {} }, () => {
    throw new Error("no room");
  });
  await expect(work).rejects.toThrow("no room");
  expect(spans.map(({ parent, status, ended }) => [parent?.traceId, status, ended])).toEqual([
    [traceId, { code: 2, message: "no room" }, true],
    ["1".repeat(32), { code: 2, message: "no room" }, true],
  ]);
});
