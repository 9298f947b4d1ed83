import swagger from "@fastify/swagger";
import type { FastifyInstance, FastifySchema, RouteOptions } from "fastify";
import { Type, type TSchema } from "typebox";
import { components } from "./validation.ts";

const text = (description: string): TSchema => Type.Optional(Type.String({ description }));

/** Headers that many routes take; they are checked where they are used, and shown here. */
const headersOf = ({ method, url, config }: RouteOptions): Record<string, TSchema> => {
  const access = config?.access;
  const methods = [method].flat();
  return {
    ...(access === "read" || access === "write" ? { "Bulkhead-Project": text("project (default: `default`)") } : {}),
    ...(methods.includes("POST") && access !== "join"
      ? { "Idempotency-Key": text("a repeated request with this key is answered and not done again, for 24 hours") }
      : {}),
    ...(/^\/v1\/(workloads|hosts|instances)\/:/.test(url) && !methods.includes("GET")
      ? { "If-Match": text("ETag; refused when the object has changed since") }
      : {}),
    ...(url === "/v1/events" ? { "Last-Event-ID": text("number of the last event seen; resumes after it") } : {}),
  };
};

/** Describes the routes that are added after it as OpenAPI 3.1. */
export const addOpenApi = async (app: FastifyInstance, version: string): Promise<void> => {
  for (const component of components) app.addSchema(component);
  await app.register(swagger, {
    openapi: {
      openapi: "3.1.0",
      info: {
        title: "Bulkhead API",
        version,
        description: "One fleet and one API for containers and microVMs.",
        license: { name: "Apache-2.0", identifier: "Apache-2.0" },
      },
      components: { securitySchemes: { token: { type: "http", scheme: "bearer" } } },
      security: [{ token: [] }],
    },
    refResolver: { buildLocalReference: (json) => json["$id"] as string },
    transform: ({ schema, url, route }) => {
      const headers = headersOf(route);
      const shown: FastifySchema = {
        ...schema,
        ...(Object.keys(headers).length === 0 ? {} : { headers: Type.Object(headers) }),
        ...(route.config?.access === "public" ? { security: [] } : {}),
      };
      return { schema: shown, url };
    },
  });
};
