import { Readable } from "node:stream";
import { fleetError, unstorableAt } from "@bulkhead/contracts";
import type { FastifyInstance } from "fastify";

const message = "must not have a NUL or half of a character in it: no database keeps them";

/** Refuses text that Postgres would refuse, wherever a request has it, before anybody else looks at it. */
export const addTextRefusal = (app: FastifyInstance): void => {
  app.addHook("preValidation", async ({ params, query, body }) => {
    const parts = { path: params, query, body: body instanceof Readable ? undefined : body };
    for (const [part, value] of Object.entries(parts)) {
      const pointer = unstorableAt(value);
      if (pointer === undefined) continue;
      throw fleetError("REQUEST_INVALID", `The ${part} is invalid: ${pointer || "(whole)"} ${message}.`, {
        fields: { errors: [{ pointer, message }] },
      });
    }
  });
};
