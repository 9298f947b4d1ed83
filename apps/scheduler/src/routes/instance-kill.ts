import { type Instance, fleetError } from "@bulkhead/contracts";
import { Type } from "typebox";
import { accepted, answers, byReference, dryRun, query, ref } from "../http/answers.ts";
import { onceKey, sendAnswer } from "../http/once.ts";
import { changeOf } from "../http/request-context.ts";
import { instanceReference } from "./instances.ts";
import type { AddRoutes } from "./route-context.ts";
import { agentOf } from "./agent-of.ts";

/** signal(7): SIGKILL. */
const defaultSignal = 9;

export const addKillRoute: AddRoutes = (app, { inventory, commands, control }) => {
  app.post<{
    Params: { instance: string };
    Body: { signal?: number } | undefined;
    Querystring: { dryRun?: boolean };
  }>(
    "/v1/instances/:instance/kill",
    {
      config: { access: "write" },
      schema: {
        operationId: "killInstance",
        summary: "Send a signal to an instance's first process; the restart policy decides what follows",
        tags: ["instances"],
        params: byReference("instance", "id or name"),
        querystring: query({ dryRun }),
        body: Type.Union([
          Type.Object(
            {
              signal: Type.Optional(
                Type.Integer({
                  minimum: 1,
                  maximum: 64,
                  default: defaultSignal,
                  description: "number, as in signal(7)",
                }),
              ),
            },
            { additionalProperties: false },
          ),
          Type.Null(),
        ]),
        response: answers({
          200: { description: "dry run: the instance that would get it", schema: ref("Instance") },
          202: { description: "the agent has sent it", schema: ref("Operation") },
        }),
      },
    },
    async (request, reply) => {
      const change = changeOf(request);
      const signal = request.body?.signal ?? defaultSignal;
      const target = async (): Promise<Instance> => {
        const instance = await inventory.read.instance(instanceReference(request));
        if (["running", "paused", "stopping"].includes(instance.state)) return instance;
        const detail = `Instance ${instance.name} is ${instance.state}; it has no process to signal.`;
        throw fleetError("STATE_CONFLICT", detail);
      };
      if (request.query.dryRun === true) return reply.send(await target());
      const once = onceKey(request);
      // The signal leaves the database, so the key is claimed for itself: a repetition must not send it again.
      const earlier = once === undefined ? undefined : await inventory.write((tx) => tx.claim(once));
      if (earlier !== undefined) return sendAnswer(reply, earlier, true);
      try {
        const instance = await target();
        await commands.signal(agentOf(instance), { instanceId: instance.id, signal });
        const answer = await inventory.write(async (tx) => {
          const project = { ...change, project: instance.project };
          const made = accepted(await tx.recordKill(project, { instanceId: instance.id, signal }));
          if (once !== undefined) await tx.complete(once, made);
          return made;
        });
        control.wake();
        return sendAnswer(reply, answer);
      } catch (error) {
        if (once !== undefined) await inventory.write((tx) => tx.release(once));
        throw error;
      }
    },
  );
};
