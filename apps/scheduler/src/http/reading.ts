import type { FastifyInstance } from "fastify";
import type { TSchema } from "typebox";
import { type PageQuery, answers, pageQuery, pageRequest, pageSchema, query, ref } from "./answers.ts";
import { entityTag } from "./entity-tag.ts";

type Page = ReturnType<typeof pageRequest>;

interface ListRoute<Filters> {
  /** `GET /v1/<noun>` */
  readonly noun: string;
  /** named schema of the items */
  readonly schema: string;
  readonly summary: string;
  readonly access?: "read" | "admin";
  /** query members beside those of every list */
  readonly filters?: Readonly<Record<keyof Filters & string, TSchema>>;
  readonly read: (asked: { project: string | null; filters: Partial<Filters> }, page: Page) => Promise<unknown>;
}

/** The route that answers a collection page by page. */
export const addList = <Filters extends object = object>(
  app: FastifyInstance,
  { noun, schema, summary, access = "read", filters, read }: ListRoute<Filters>,
): void => {
  app.get(
    `/v1/${noun}`,
    {
      config: { access },
      schema: {
        operationId: `list${schema}s`,
        summary,
        tags: [noun],
        querystring: query({ ...pageQuery, ...filters }),
        response: answers({ 200: { description: "one page", schema: pageSchema(schema) } }),
      },
    },
    async (request) => {
      const asked = request.query as PageQuery & Partial<Filters>;
      return read({ project: request.project, filters: asked }, pageRequest(asked));
    },
  );
};

/** What names one object among a project's. */
interface Reference {
  /** null where an administrator asks for all projects */
  readonly project: string | null;
  readonly idOrName: string;
}

interface GetRoute<T> {
  /** `GET /v1/<noun>/:<member>` */
  readonly noun: string;
  readonly member: string;
  readonly schema: string;
  readonly summary: string;
  readonly params: TSchema;
  readonly read: (reference: Reference) => Promise<T>;
  /** what its `ETag` is made of, where it has one */
  readonly version?: (found: T) => number;
}

/** The route that answers one object. */
export const addGet = <T>(
  app: FastifyInstance,
  { noun, member, schema, summary, params, read, version }: GetRoute<T>,
): void => {
  app.get<{ Params: Record<string, string> }>(
    `/v1/${noun}/:${member}`,
    {
      config: { access: "read" },
      schema: {
        operationId: `get${schema}`,
        summary,
        tags: [noun],
        params,
        response: answers({ 200: { description: `the ${member}`, schema: ref(schema) } }),
      },
    },
    async (request, reply) => {
      const found = await read({ project: request.project, idOrName: request.params[member] ?? "" });
      if (version !== undefined) void reply.header("etag", entityTag(version(found)));
      return reply.send(found);
    },
  );
};
