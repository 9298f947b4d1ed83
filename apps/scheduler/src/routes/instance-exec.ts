import { type Instance, type OpenExec, fleetError, isFleetError } from "@bulkhead/contracts";
import type { FastifyRequest } from "fastify";
import { Type } from "typebox";
import type { WebSocket } from "ws";
import { answers, byReference, query } from "../http/answers.ts";
import { assertUpgrade, upgrade } from "../http/upgrade.ts";
import { type ExecQuery, type ExecRequest, execFromQuery, firstRequest } from "../streams/exec-request.ts";
import { bridgeExec, refuseExec } from "../streams/exec-bridge.ts";
import type { ExpectedStream } from "../streams/stream-broker.ts";
import { agentOf } from "./agent-of.ts";
import { instanceReference } from "./instances.ts";
import type { AddRoutes, RouteContext } from "./route-context.ts";

type ExecRouteRequest = FastifyRequest<{
  Params: { instance: string };
  Querystring: ExecQuery;
}>;

const execQuery = query({
  command: Type.String({
    description: "JSON array of the command and its arguments; without it the first frame says it",
  }),
  env: Type.String({ description: "JSON object" }),
  workingDir: Type.String({ maxLength: 4096 }),
  user: Type.String({ maxLength: 255 }),
  tty: Type.Boolean({ description: "give it a terminal" }),
  rows: Type.Integer({ minimum: 1, maximum: 10_000 }),
  columns: Type.Integer({ minimum: 1, maximum: 10_000 }),
  project: Type.String({ description: "instead of `Bulkhead-Project`, which browsers cannot send" }),
});

/** Joins an upgraded client with the agent; every failure from here on is the stream's last frame. */
const run = async (
  { commands, log }: RouteContext,
  { client, instance, expected }: { client: WebSocket; instance: Instance; expected: ExpectedStream },
  fromQuery: ExecRequest | undefined,
): Promise<void> => {
  client.once("close", () => expected.abandon());
  client.on("error", () => undefined);
  try {
    const { request, early } = fromQuery === undefined ? await firstRequest(client) : { request: fromQuery, early: [] };
    const command: OpenExec = {
      ...request,
      streamId: expected.streamId,
      url: expected.url,
      token: expected.token,
      instanceId: instance.id,
    };
    await commands.exec(agentOf(instance), command);
    bridgeExec(client, await expected.agent, early);
  } catch (err) {
    expected.abandon();
    if (!isFleetError(err)) log.error({ err, instanceId: instance.id }, "exec failed");
    const [code, detail] = isFleetError(err) ? [err.code, err.message] : ["INTERNAL", "An unexpected error."];
    refuseExec(client, code, detail);
  }
};

export const addExecRoute: AddRoutes = (app, context) => {
  const { inventory, broker } = context;
  app.get<{ Params: { instance: string }; Querystring: ExecQuery }>(
    "/v1/instances/:instance/exec",
    {
      config: { access: "write" },
      schema: {
        operationId: "exec",
        summary: "WebSocket: run a command in an instance; each binary message is a channel byte and its payload",
        description:
          "Channels: 0 stdin, 1 stdout, 2 stderr, 3 control (JSON: resize, signal, end-of-input), 4 exit (JSON, the last " +
          "frame). Browsers offer the sub-protocols `bulkhead.stream.v1` and `bulkhead.bearer.TOKEN`.",
        tags: ["instances"],
        params: byReference("instance", "id or name"),
        querystring: execQuery,
        response: answers({ 101: { description: "the stream" } }),
      },
    },
    async (request: ExecRouteRequest, reply) => {
      assertUpgrade(request);
      const instance = await inventory.read.instance(instanceReference(request));
      if (instance.state !== "running") {
        throw fleetError("STATE_CONFLICT", `Instance ${instance.name} is ${instance.state}, not running.`);
      }
      agentOf(instance);
      const fromQuery = execFromQuery(request.query);
      const expected = broker.expect();
      let client: WebSocket;
      try {
        client = await upgrade(request, reply);
      } catch (error) {
        expected.abandon();
        throw error;
      }
      await run(context, { client, instance, expected }, fromQuery);
      return reply;
    },
  );
};
