import type { Operation } from "@bulkhead/contracts";
import type { StoredAnswer } from "@bulkhead/inventory";
import { Type, type TSchema } from "typebox";

/** 202 with the operation that carries the change out. */
export const accepted = (operation: Operation, headers: Record<string, string> = {}): StoredAnswer => ({
  status: 202,
  headers: { location: `/v1/operations/${operation.id}`, ...headers },
  body: operation,
});

/** Reference to a named schema of the contracts. */
export const ref = (id: string): TSchema => ({ $ref: `${id}#` });

/** One page of a list. */
export const pageSchema = (id: string): TSchema =>
  Type.Object({ items: Type.Array(ref(id)), nextCursor: Type.Union([Type.String(), Type.Null()]) });

/** Query of every list. */
export const pageQuery = {
  limit: Type.Integer({ minimum: 1, maximum: 1000, default: 100, description: "items per page" }),
  cursor: Type.String({ maxLength: 512, description: "`nextCursor` of the page before" }),
};

export interface PageQuery {
  readonly limit?: number;
  readonly cursor?: string;
}

const defaultLimit = 100;

export const pageRequest = ({ limit, cursor }: PageQuery): { limit: number; cursor?: string } => ({
  limit: limit ?? defaultLimit,
  ...(cursor === undefined ? {} : { cursor }),
});

/** A query whose members may all be absent; others are refused. */
export const query = (members: Record<string, TSchema>): TSchema =>
  Type.Object(Object.fromEntries(Object.entries(members).map(([name, schema]) => [name, Type.Optional(schema)])), {
    additionalProperties: false,
  });

const problem = {
  description: "what went wrong (RFC 9457)",
  content: { "application/problem+json": { schema: ref("Problem") } },
};

/** Responses of a route for OpenAPI: what it answers, and a problem for everything else. */
export const answers = (by: Readonly<Record<number, { description: string; schema?: TSchema; type?: string }>>) => ({
  ...Object.fromEntries(
    Object.entries(by).map(([status, { description, schema, type }]) => [
      status,
      schema === undefined && type === undefined
        ? { description, type: "null" }
        : { description, content: { [type ?? "application/json"]: { schema: schema ?? Type.String() } } },
    ]),
  ),
  "4xx": problem,
  "5xx": problem,
});

/** Query of every route that changes something. */
export const dryRun = Type.Boolean({ description: "check and decide, but change nothing" });

/** Path parameter that takes an id or a name. */
export const byReference = (name: string, description: string): TSchema =>
  Type.Object({ [name]: Type.String({ minLength: 1, maxLength: 255, description }) });
