import { trace } from "@opentelemetry/api";
import { pino, type DestinationStream, type Logger } from "pino";
import { prettyLine } from "./log-line.ts";

export type { Logger } from "pino";

export const logLevels = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;
export type LogLevel = (typeof logLevels)[number];

const secretKeys = ["token", "password", "seed", "jwt", "authorization", "databaseUrl", "secret", "cookie"] as const;

/** Ids of the span that is active where the line is written, so that a line leads to its trace. */
const spanIds = (): Record<string, string> => {
  const context = trace.getActiveSpan()?.spanContext();
  return context === undefined ? {} : { traceId: context.traceId, spanId: context.spanId };
};

/** For people when standard output is a terminal; one JSON object per line otherwise. */
const standardOutput = (): DestinationStream =>
  process.stdout.isTTY
    ? { write: (line) => void process.stdout.write(prettyLine(line)) }
    : pino.destination({ fd: 1, sync: true });

/**
 * A pino logger with constant bindings `service` and the active span's ids in each line. Secrets are redacted one and
 * two levels deep; `destination` is for tests.
 */
export const createLogger = (options: { service: string; level?: LogLevel; destination?: DestinationStream }): Logger =>
  pino(
    {
      level: options.level ?? "info",
      base: { service: options.service, pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      mixin: spanIds,
      redact: {
        paths: [...secretKeys, ...secretKeys.map((key) => `*.${key}`), "req.headers.authorization"],
        censor: "[redacted]",
      },
    },
    options.destination ?? standardOutput(),
  );
