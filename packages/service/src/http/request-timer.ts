import type { FastifyInstance } from "fastify";

/** Reports each answered request's time in seconds with the labels of `http.server.request.duration`. */
export const addRequestTimer = (
  app: FastifyInstance,
  record: (seconds: number, labels: Record<string, string>) => void,
): void => {
  app.addHook("onResponse", async (request, reply) => {
    record(reply.elapsedTime / 1000, {
      "http.request.method": request.method,
      // The route and never the path: a path has ids, and each would be a series of its own.
      "http.route": request.routeOptions.url ?? "unmatched",
      "http.response.status_code": String(reply.statusCode),
    });
  });
};
