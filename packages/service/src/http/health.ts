import type { FastifyInstance, RouteShorthandOptions } from "fastify";
import type { Readiness } from "../readiness.ts";

/** `GET /healthz` (the process answers) and `GET /readyz` (it can work; 503 says what fails). */
export const addHealthRoutes = (
  app: FastifyInstance,
  readiness: Readiness,
  options: RouteShorthandOptions = {},
): void => {
  app.get("/healthz", options, async () => ({ status: "ok" }));
  app.get("/readyz", options, async (_request, reply) => {
    const answer = await readiness.check();
    return reply.code(answer.ready ? 200 : 503).send(answer);
  });
};
