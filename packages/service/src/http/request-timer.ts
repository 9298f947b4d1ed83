import type { FastifyInstance } from "fastify";

/** Labels of the catalogue's `http.server.request.duration`; a type and no interface, so that it is also a record. */
export type RequestLabels = {
  readonly "http.request.method": string;
  readonly "http.route": string;
  readonly "http.response.status_code": string;
};

/** Reports each answered request's time in seconds with the labels of `http.server.request.duration`. */
export const addRequestTimer = (
  app: FastifyInstance,
  record: (seconds: number, labels: RequestLabels) => void,
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
