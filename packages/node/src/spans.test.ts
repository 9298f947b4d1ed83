import { trace, type Span, type SpanContext, type Tracer } from "@opentelemetry/api";
import { assignment, FakeHost, instanceId, settle } from "@bulkhead/testkit/runtime";
import { afterEach, describe, expect, test } from "vitest";
import { StartFailure } from "./index.ts";

const traceId = "0af7651916cd43dd8448eb211c80319c";
const traceparent = `00-${traceId}-b7ad6b7169203331-01`;

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
      const spanId = spans.length.toString(16).padStart(16, "0");
      return {
        spanContext: () => ({ traceId: parent?.traceId ?? "f".repeat(32), spanId, traceFlags: 1 }),
        setStatus: (status: unknown) => void (span.status = status),
        end: () => void (span.ended = true),
      } as unknown as Span;
    },
  } as Tracer;
  trace.setGlobalTracerProvider({ getTracer: () => tracer });
  return spans;
};

describe("one trace from the order to the report", () => {
  afterEach(() => trace.disable());

  test("start and stop are spans below the assignment's", async () => {
    const spans = record();
    const host = new FakeHost();
    await host.start();
    host.control.assign(assignment({ traceparent }));
    await settle();
    const started = host.control.folded.find(({ state }) => state === "running");
    expect(started?.traceparent).toBe(`00-${traceId}-0000000000000001-01`);
    host.control.update(instanceId(1), { desired: "stopped" });
    await settle();
    expect(spans.map(({ name, parent, ended }) => [name, parent?.spanId, ended])).toEqual([
      ["agent.start", "b7ad6b7169203331", true],
      ["agent.stop", "b7ad6b7169203331", true],
    ]);
  });

  test("a start that fails marks its span", async () => {
    const spans = record();
    const host = new FakeHost();
    host.runtime.script.start = () => new StartFailure("MountFailed", "no room");
    await host.start();
    host.control.assign(assignment({ traceparent, spec: { restart: { policy: "never" } } }));
    await settle();
    expect(spans[0]).toMatchObject({ ended: true, status: { message: "no room" } });
  });

  test("without a tracer, or with a broken header, the report carries what the assignment had", async () => {
    const host = new FakeHost();
    await host.start();
    host.control.assign(assignment({ traceparent }), assignment({ n: 2, traceparent: "00-broken" }));
    await settle();
    expect(host.control.newest(instanceId(1)).traceparent).toBe(traceparent);
    expect(host.control.newest(instanceId(2)).traceparent).toBe("00-broken");
  });
});
