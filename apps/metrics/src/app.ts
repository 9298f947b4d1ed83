import { addHealthRoutes, addProblemHandlers, addRequestTimer, fastifyDefaults } from "@bulkhead/service/http";
import type { Logger, Readiness } from "@bulkhead/service";
import { prometheusContentType, renderPrometheus, type Meters, type MetricFamily } from "@bulkhead/telemetry";
import { UsageWindows } from "@bulkhead/contracts";
import Fastify, { type FastifyInstance } from "fastify";
import { Type, type Static } from "typebox";
import { bearerCheck } from "./bearer.ts";
import { usageItem } from "./usage-report.ts";
import type { UsageStore } from "./usage-store.ts";

export interface MetricsPorts {
  readonly store: UsageStore;
  /** everything to show at /metrics */
  readonly collect: () => MetricFamily[];
  readonly meters: Meters;
  readonly readiness: Readiness;
  readonly log: Logger;
  readonly nowMs: () => number;
  /** undefined: open to whoever reaches the port */
  readonly token: string | undefined;
}

const UsageQuery = Type.Object(
  {
    project: Type.Optional(Type.String({ maxLength: 63 })),
    workload: Type.Optional(Type.String({ maxLength: 63 })),
    instance: Type.Optional(Type.String({ maxLength: 64, description: "id or name" })),
  },
  { additionalProperties: false },
);

/** Most instances in one answer; a full window is about 20 KiB of JSON each. */
const itemsMax = 100;

/** The service's HTTP side: scrape, the last ten minutes per instance, health. */
export const buildApp = (ports: MetricsPorts): FastifyInstance => {
  const { store, readiness, log, token } = ports;
  const app = Fastify(fastifyDefaults(log));
  addProblemHandlers(app);
  addRequestTimer(app, (seconds, labels) => ports.meters.httpRequestDuration.record(seconds, labels));
  addHealthRoutes(app, readiness);
  const guard = token === undefined ? {} : { onRequest: bearerCheck(token) };

  app.get("/metrics", guard, async (_request, reply) =>
    reply.type(prometheusContentType).send(renderPrometheus(ports.collect())),
  );

  app.get<{ Querystring: Static<typeof UsageQuery> }>(
    "/v1/usage",
    { ...guard, schema: { querystring: UsageQuery, response: { 200: UsageWindows } } },
    async ({ query }) => {
      const wanted = store.recent().filter(({ instance }) => {
        const { project, workload, name } = instance.sample;
        return (
          (query.project === undefined || query.project === project) &&
          (query.workload === undefined || query.workload === workload) &&
          (query.instance === undefined || query.instance === name || query.instance === instance.instanceId)
        );
      });
      wanted.sort((a, b) => b.instance.seenAtMs - a.instance.seenAtMs);
      const nowMs = ports.nowMs();
      return {
        items: wanted.slice(0, itemsMax).map(({ instance, hostName }) => usageItem(instance, hostName, nowMs)),
        total: wanted.length,
      };
    },
  );
  return app;
};
