import { Type, type Static } from "typebox";
import { HostId } from "./ids.ts";

/** RFC 9457 problem details; `code` is the stable name from the error table. */
export const Problem = Type.Object(
  {
    type: Type.String({ description: "URI of the error's documentation" }),
    title: Type.String(),
    status: Type.Integer({ minimum: 400, maximum: 599 }),
    code: Type.String(),
    detail: Type.String({ description: "what happened, why, and what to do" }),
    instance: Type.Optional(Type.String({ description: "request id" })),
    errors: Type.Optional(
      Type.Array(
        Type.Object(
          { pointer: Type.String({ description: "RFC 6901 pointer into the request body" }), message: Type.String() },
          { additionalProperties: false },
        ),
      ),
    ),
    hosts: Type.Optional(
      Type.Array(
        Type.Object(
          { hostId: HostId, hostName: Type.String(), reason: Type.String() },
          { additionalProperties: false },
        ),
      ),
    ),
    nearestFeasible: Type.Optional(Type.Record(Type.String(), Type.Union([Type.Integer(), Type.String()]))),
    retryAfterMs: Type.Optional(Type.Integer()),
    traceId: Type.Optional(Type.String()),
  },
  { additionalProperties: false, $id: "Problem" },
);
export type Problem = Static<typeof Problem>;
