import { specBytesMax } from "@bulkhead/contracts";
import { addHealthRoutes } from "@bulkhead/service/http";
import { Type } from "typebox";
import { answers } from "../http/answers.ts";
import { docsPage } from "./docs-page.ts";
import type { AddRoutes } from "./route-context.ts";

/** What this API can do; clients look here before they use something new. */
const features = [
  "containers",
  "dry-run",
  "events",
  "exec",
  "idempotency",
  "image-import",
  "live-resize",
  "logs",
  "merge-patch",
  "pause",
] as const;

const publicRoute = { config: { access: "public" as const } };

export const addInformationRoutes: AddRoutes = (app, { readiness, settings, ownMetrics }) => {
  addHealthRoutes(app, readiness, publicRoute);

  app.get(
    "/v1",
    {
      config: { access: "read" },
      schema: {
        operationId: "getInformation",
        summary: "Version, features and limits",
        tags: ["information"],
        response: answers({
          200: {
            description: "the API",
            schema: Type.Object({
              version: Type.String(),
              features: Type.Array(Type.String()),
              metricsUrl: Type.Union([Type.String(), Type.Null()]),
              limits: Type.Record(Type.String(), Type.Integer()),
            }),
          },
        }),
      },
    },
    async () => ({
      version: settings.version,
      features,
      metricsUrl: settings.metricsUrl,
      limits: {
        bodyBytes: app.initialConfig.bodyLimit ?? 0,
        imageBytes: settings.imageMaxBytes,
        pageItems: 1000,
        requestsBurst: settings.requestsBurst,
        requestsPerSecond: settings.requestsPerSecond,
        specBytes: specBytesMax,
        streams: settings.streamsMax,
      },
    }),
  );

  app.get(
    "/metrics",
    {
      config: { access: "admin" },
      schema: {
        operationId: "getOwnMetrics",
        summary: "This scheduler's own measurements for Prometheus; those of instances come from the metrics service",
        tags: ["information"],
        response: answers({ 200: { description: "the measurements", type: "text/plain" } }),
      },
    },
    async (_request, reply) => {
      const { contentType, text } = ownMetrics();
      return reply.type(contentType).send(text);
    },
  );

  app.get("/v1/openapi.json", { ...publicRoute, schema: { hide: true } }, async (_request, reply) =>
    reply.type("application/json").send(app.swagger()),
  );

  let page: string | undefined;
  app.get("/docs", { ...publicRoute, schema: { hide: true } }, async (_request, reply) => {
    page ??= docsPage(app.swagger() as unknown as Parameters<typeof docsPage>[0]);
    return reply
      .header("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'")
      .type("text/html; charset=utf-8")
      .send(page);
  });
};
