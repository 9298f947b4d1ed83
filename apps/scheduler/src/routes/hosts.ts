import { Labels } from "@bulkhead/contracts";
import { Type } from "typebox";
import { answers, byReference, dryRun, query, ref } from "../http/answers.ts";
import { entityTag, ifMatch } from "../http/entity-tag.ts";
import { rehearse } from "../http/once.ts";
import { identityOf } from "../http/request-context.ts";
import { addGet, addList } from "../http/reading.ts";
import type { AddRoutes } from "./route-context.ts";

const tags = ["hosts"];
const one = byReference("host", "id or name");

interface HostPatch {
  readonly cordoned?: boolean;
  readonly labels?: Record<string, string | null> | null;
}

const labelKey = Object.keys((Labels as unknown as { patternProperties: object }).patternProperties)[0] ?? "";

const patchBody = Type.Object(
  {
    cordoned: Type.Optional(Type.Boolean({ description: "no new instances come here" })),
    labels: Type.Optional(
      Type.Union([
        Type.Record(Type.String({ pattern: labelKey }), Type.Union([Type.String({ maxLength: 255 }), Type.Null()]), {
          additionalProperties: false,
          maxProperties: 64,
        }),
        Type.Null(),
      ]),
    ),
  },
  { additionalProperties: false },
);

export const addHostRoutes: AddRoutes = (app, { inventory, control }) => {
  addList(app, {
    noun: "hosts",
    schema: "Host",
    summary: "List hosts with their agents, capacity and what is given away",
    read: (_request, page) => inventory.read.hosts(page),
  });

  addGet(app, {
    noun: "hosts",
    member: "host",
    schema: "Host",
    summary: "One host by id or name; `ETag` is its version",
    params: one,
    read: ({ idOrName }) => inventory.read.host(idOrName),
    version: (host) => host.version,
  });

  app.patch<{ Params: { host: string }; Body: HostPatch; Querystring: { dryRun?: boolean } }>(
    "/v1/hosts/:host",
    {
      config: { access: "admin" },
      schema: {
        operationId: "patchHost",
        summary: "Cordon a host or change its labels by merge patch",
        tags,
        params: one,
        querystring: query({ dryRun }),
        consumes: ["application/merge-patch+json", "application/json"],
        body: patchBody,
        response: answers({ 200: { description: "the host", schema: ref("Host") } }),
      },
    },
    async (request, reply) => {
      const { host } = request.params;
      const ifVersion = ifMatch(request);
      const { tokenId } = identityOf(request);
      const update = { host, ...request.body, ...(ifVersion === undefined ? {} : { ifVersion }) };
      if (request.query.dryRun === true) {
        await rehearse(inventory, (tx) => tx.patchHost({ tokenId }, update));
        return reply.send(await inventory.read.host(host));
      }
      const changed = await inventory.write((tx) => tx.patchHost({ tokenId }, update));
      control.wake();
      return reply.header("etag", entityTag(changed.version)).send(changed);
    },
  );
};
