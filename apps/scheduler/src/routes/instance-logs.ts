import { Timestamp } from "@bulkhead/contracts";
import { Type } from "typebox";
import { answers, byReference, query } from "../http/answers.ts";
import { ndjsonRenderer, textRenderer } from "../streams/log-lines.ts";
import { logStream } from "../streams/log-stream.ts";
import { agentOf } from "./agent-of.ts";
import { instanceReference } from "./instances.ts";
import { type AddRoutes, clientGone } from "./route-context.ts";

interface LogQuery {
  readonly follow?: boolean;
  readonly tail?: number;
  readonly since?: string;
  readonly timestamps?: boolean;
}

const ndjson = "application/x-ndjson";

export const addLogRoute: AddRoutes = (app, { inventory, commands, broker }) => {
  app.get<{ Params: { instance: string }; Querystring: LogQuery }>(
    "/v1/instances/:instance/logs",
    {
      config: { access: "read" },
      schema: {
        operationId: "readLogs",
        summary: `What an instance wrote; text, or one JSON object per line with \`Accept: ${ndjson}\``,
        tags: ["instances"],
        params: byReference("instance", "id or name"),
        querystring: query({
          follow: Type.Boolean({ description: "go on until the client or the instance goes" }),
          tail: Type.Integer({ minimum: 0, maximum: 1_000_000, description: "begin at most this many lines back" }),
          since: Timestamp,
          timestamps: Type.Boolean({ description: "begin each line with its time" }),
        }),
        response: answers({ 200: { description: "the log", type: "text/plain" } }),
      },
    },
    async (request, reply) => {
      const { follow = false, tail, since, timestamps = false } = request.query;
      const instance = await inventory.read.instance(instanceReference(request));
      const agent = agentOf(instance);
      const expected = broker.expect();
      const gone = clientGone(reply.raw);
      gone.addEventListener("abort", () => expected.abandon());
      try {
        await commands.logs(agent, {
          streamId: expected.streamId,
          url: expected.url,
          token: expected.token,
          instanceId: instance.id,
          follow,
          ...(tail === undefined ? {} : { tailLines: tail }),
          ...(since === undefined ? {} : { since }),
        });
        const socket = await expected.agent;
        const json = request.headers.accept?.includes(ndjson) === true;
        void reply.type(json ? ndjson : "text/plain; charset=utf-8");
        return await reply.send(logStream(socket, json ? ndjsonRenderer() : textRenderer(timestamps)));
      } catch (error) {
        expected.abandon();
        throw error;
      }
    },
  );
};
