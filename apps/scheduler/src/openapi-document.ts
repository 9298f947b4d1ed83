import { createLogger, Readiness } from "@bulkhead/service";
import { buildApp } from "./app.ts";
import type { SchedulerPorts } from "./ports.ts";
import { version } from "./version.ts";

/** Ports of an app that describes itself and serves nothing; whoever uses one has made a mistake. */
const noPorts = (): SchedulerPorts => {
  const none = new Proxy(
    {},
    {
      get: () => {
        throw new Error("this app only describes itself");
      },
    },
  );
  return {
    inventory: { read: {} as never, write: () => Promise.reject(new Error("this app only describes itself")) },
    commands: none as never,
    images: none as never,
    control: none as never,
    pulls: none as never,
    credentials: none as never,
    readiness: new Readiness(),
    log: createLogger({ service: "openapi", level: "fatal" }),
    nowMs: () => 0,
    ownMetrics: () => ({ contentType: "text/plain", text: "" }),
    recordRequest: () => undefined,
  };
};

/** The API's OpenAPI 3.1 document, as `/v1/openapi.json` has it. */
export const openApiDocument = async (): Promise<unknown> => {
  const { app } = await buildApp(noPorts(), {
    version,
    streamsUrl: "ws://localhost",
    metricsUrl: null,
    imageMaxBytes: 2 ** 30,
    streamsMax: 1,
    requestsPerSecond: 1,
    requestsBurst: 1,
    loopDelayMaxMs: 1_000,
  });
  try {
    await app.ready();
    return app.swagger();
  } finally {
    await app.close();
  }
};
