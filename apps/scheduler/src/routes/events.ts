import { type EventType, HostId, InstanceId, WorkloadId, eventTypes, fleetError } from "@bulkhead/contracts";
import type { EventFilter } from "@bulkhead/inventory";
import type { FastifyRequest } from "fastify";
import { Type } from "typebox";
import { streamEvents } from "../events/event-stream.ts";
import { answers, query } from "../http/answers.ts";
import { answerHeaders } from "../http/request-context.ts";
import type { AddRoutes } from "./route-context.ts";

interface EventQuery {
  readonly since?: number;
  readonly follow?: boolean;
  readonly types?: string;
  readonly workloadId?: string;
  readonly instanceId?: string;
  readonly hostId?: string;
}

const known: ReadonlySet<string> = new Set(eventTypes);

const invalid = (pointer: string, message: string) =>
  fleetError("REQUEST_INVALID", `${pointer.slice(1)} ${message}.`, { fields: { errors: [{ pointer, message }] } });

const typesOf = (text: string | undefined): EventType[] | undefined => {
  if (text === undefined) return undefined;
  const types = text.split(",");
  const unknown = types.find((type) => !known.has(type));
  if (unknown !== undefined) throw invalid("/types", `has ${unknown}, which is none of ${eventTypes.join(", ")}`);
  return types as EventType[];
};

const cursorOf = (request: FastifyRequest<{ Querystring: EventQuery }>): number | undefined => {
  const header = request.headers["last-event-id"];
  if (header === undefined || header === "") return request.query.since;
  if (typeof header !== "string" || !/^[0-9]{1,15}$/.test(header)) {
    throw invalid("/Last-Event-ID", "must be the id of an event");
  }
  return Number(header);
};

export const addEventRoutes: AddRoutes = (app, { inventory, feed, log }) => {
  app.get<{ Querystring: EventQuery }>(
    "/v1/events",
    {
      config: { access: "read" },
      schema: {
        operationId: "watchEvents",
        summary: "Server-sent events in commit order; resumable with `Last-Event-ID` or `since` (0: all that is kept)",
        tags: ["events"],
        querystring: query({
          since: Type.Integer({ minimum: 0, description: "begin after the event with this number" }),
          follow: Type.Boolean({ default: true, description: "false: end with what has happened until now" }),
          types: Type.String({ maxLength: 1024, description: "event types with commas between" }),
          workloadId: WorkloadId,
          instanceId: InstanceId,
          hostId: HostId,
        }),
        response: answers({ 200: { description: "the stream", type: "text/event-stream" } }),
      },
    },
    async (request, reply) => {
      const { workloadId, instanceId, hostId } = request.query;
      const types = typesOf(request.query.types);
      const since = cursorOf(request);
      if (since !== undefined) await inventory.read.assertCursor(since);
      const administers = request.identity?.role === "admin" && request.headers["bulkhead-project"] === undefined;
      const filter: EventFilter = {
        // An administrator who names no project sees the fleet's own events as well.
        project: administers ? null : request.project,
        ...(types === undefined ? {} : { types }),
        ...(workloadId === undefined ? {} : { workloadId }),
        ...(instanceId === undefined ? {} : { instanceId }),
        ...(hostId === undefined ? {} : { hostId }),
      };
      reply.hijack();
      const response = reply.raw;
      response.on("error", () => undefined);
      response.writeHead(200, { ...answerHeaders(request), "content-type": "text/event-stream; charset=utf-8" });
      // A first line at once, so that the client knows that it is connected.
      response.write(": connected\n\n");
      try {
        await streamEvents({
          feed,
          read: inventory.read,
          filter,
          since,
          follow: request.query.follow ?? true,
          response,
        });
      } catch (err) {
        log.warn({ err }, "event stream failed");
      } finally {
        response.destroy();
      }
      return reply;
    },
  );
};
