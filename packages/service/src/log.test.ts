import { context, trace, type Context, type ContextManager } from "@opentelemetry/api";
import { fleetError } from "@bulkhead/contracts";
import { afterEach, expect, test } from "vitest";
import { prettyLine } from "./log-line.ts";
import { createLogger } from "./log.ts";

const capture = () => {
  const lines: Record<string, unknown>[] = [];
  const log = createLogger({
    service: "sample",
    level: "debug",
    destination: { write: (line) => void lines.push(JSON.parse(line) as Record<string, unknown>) },
  });
  return { log, lines };
};

afterEach(() => context.disable());

test("a line has its service, level by name and fields", () => {
  const { log, lines } = capture();
  log.info({ hostId: "h" }, "host joined");
  expect(lines[0]).toMatchObject({ service: "sample", level: "info", msg: "host joined", hostId: "h" });
  expect(lines[0]).not.toHaveProperty("traceId");
});

test("secrets are redacted at the top, one level down and in request headers", () => {
  const { log, lines } = capture();
  log.info(
    {
      token: "s3cret",
      config: { password: "s3cret", jwt: "s3cret" },
      req: { headers: { authorization: "Bearer s3cret" } },
    },
    "shown",
  );
  expect(JSON.stringify(lines[0])).not.toContain("s3cret");
  expect(lines[0]).toMatchObject({ token: "[redacted]", config: { password: "[redacted]" } });
});

test("an error is logged with its code, stack and cause", () => {
  const { log, lines } = capture();
  const err = fleetError("RUNTIME_FAILED", "mount failed", { cause: new Error("EBUSY") });
  log.error({ err }, "start failed");
  expect(lines[0]).toMatchObject({ err: { code: "RUNTIME_FAILED" } });
  expect(JSON.stringify(lines[0])).toContain("EBUSY");
});

test("a line carries the ids of the active span", () => {
  const spanContext = { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331", traceFlags: 1 };
  const active = trace.setSpan(context.active(), trace.wrapSpanContext(spanContext));
  const fixed: ContextManager = {
    active: (): Context => active,
    with: (_context, fn, thisArg, ...args) => fn.call(thisArg as never, ...args),
    bind: (_context, target) => target,
    enable: () => fixed,
    disable: () => fixed,
  };
  context.setGlobalContextManager(fixed);
  const { log, lines } = capture();
  log.info("seen");
  expect(lines[0]).toMatchObject({ traceId: spanContext.traceId, spanId: spanContext.spanId });
});

test("the form for terminals shows message, fields and stack, and no control characters", () => {
  const line = prettyLine(
    JSON.stringify({
      level: "warn",
      time: "2026-11-23T10:11:12.345Z",
      msg: "odd\u001b[2J",
      name: "a\u001b]0;b\u0007",
      err: { message: "m", stack: "Error: m\n    at \u001bx" },
    }),
  );
  expect(line).toContain("10:11:12.345");
  expect(line).toContain("WARN");
  expect(line).toContain("Error: m\n    at");
  // oxlint-disable-next-line no-control-regex
  expect(line.replace(/\u001b\[[0-9]+m/g, "")).not.toMatch(/[\u0000-\u0008\u001b]/);
});

test("what is not a log line passes through", () => {
  expect(prettyLine("plain text\n")).toBe("plain text\n");
});
