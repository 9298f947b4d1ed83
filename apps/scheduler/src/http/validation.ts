import {
  CreateToken,
  CreateWorkload,
  Event,
  Host,
  HostCredential,
  Image,
  Instance,
  JoinHost,
  Operation,
  PatchWorkload,
  Problem,
  Token,
  Workload,
  fleetError,
} from "@bulkhead/contracts";
import { Ajv, type AnySchema, type ErrorObject } from "ajv";
import addFormats from "ajv-formats";
import type { FastifySchemaCompiler } from "fastify";
import type { TSchema } from "typebox";

const named: readonly TSchema[] = [
  CreateToken,
  CreateWorkload,
  Event,
  Host,
  HostCredential,
  Image,
  Instance,
  JoinHost,
  Operation,
  PatchWorkload,
  Problem,
  Token,
  Workload,
];

const idOf = (value: unknown): string | undefined =>
  typeof value === "object" && value !== null && "$id" in value && typeof value.$id === "string"
    ? value.$id
    : undefined;

/** A plain copy in which every named schema inside another is a reference to it. */
const plain = (value: unknown, top: boolean): unknown => {
  const id = idOf(value);
  if (id !== undefined && !top) return { $ref: `${id}#` };
  if (Array.isArray(value)) return value.map((item) => plain(item, false));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner, false)]));
};

/** The contracts' named schemas as plain JSON Schema, each once; what OpenAPI lists as components. */
export const components = named.map((schema) => plain(schema, true) as { $id: string });

const options = { allErrors: true, removeAdditional: false, useDefaults: false, strict: false } as const;

const compiler = (coerceTypes: boolean | "array"): Ajv => {
  const ajv = new Ajv({ ...options, coerceTypes });
  // The CommonJS module's default export carries itself as `default` for bundlers.
  (addFormats as unknown as typeof addFormats.default)(ajv);
  for (const component of components) ajv.addSchema(component);
  return ajv;
};

const bodies = compiler(false);
const texts = compiler("array");

/** Problems listed in one answer; a body of a million wrong members needs no million lines. */
const maximumErrors = 50;

/** One line for a union of literals instead of one for each of them and one for the union. */
const collapse = (errors: readonly ErrorObject[]): ErrorObject[] => {
  const unions = errors.filter(({ keyword }) => keyword === "anyOf");
  const literals = new Map<string, unknown[]>();
  for (const union of unions) {
    const branches = errors.filter(
      ({ instancePath, schemaPath }) =>
        instancePath === union.instancePath && schemaPath.startsWith(`${union.schemaPath}/`),
    );
    if (branches.length > 0 && branches.every(({ keyword }) => keyword === "const")) {
      literals.set(
        union.schemaPath,
        branches.map(({ params }) => (params as { allowedValue: unknown }).allowedValue),
      );
    }
  }
  return errors
    .flatMap((error): ErrorObject[] => {
      const values = literals.get(error.schemaPath);
      if (error.keyword === "anyOf" && values !== undefined) {
        return [{ ...error, keyword: "enum", params: { allowedValues: values } }];
      }
      const inUnion = [...literals.keys()].some((path) => error.schemaPath.startsWith(`${path}/`));
      return inUnion ? [] : [error];
    })
    .slice(0, maximumErrors);
};

const limitPath = /^\/spec\/resources\/(?<field>[A-Za-z]+)$/;

/** LIMIT_INFEASIBLE with the nearest values when limits out of range are all that is wrong with a body. */
const limitRefusal = (errors: readonly ErrorObject[]): Error | undefined => {
  const nearestFeasible: Record<string, number> = {};
  const entries = errors.map(({ keyword, instancePath, params }) => {
    const field = limitPath.exec(instancePath)?.groups?.["field"];
    const { limit } = params as { limit?: number };
    if (field === undefined || limit === undefined || (keyword !== "minimum" && keyword !== "maximum"))
      return undefined;
    nearestFeasible[field] = limit;
    return { pointer: instancePath, message: `must be at ${keyword === "minimum" ? "least" : "most"} ${limit}` };
  });
  const telling = entries.filter((entry) => entry !== undefined);
  if (telling.length === 0 || telling.length < entries.length) return undefined;
  const list = telling.map(({ pointer, message }) => `${pointer} ${message}`).join("; ");
  return fleetError("LIMIT_INFEASIBLE", `${list}.`, { fields: { errors: telling, nearestFeasible } });
};

/** Bodies are taken as they are; query, path and headers are text and become what their schema names. */
export const validatorCompiler: FastifySchemaCompiler<AnySchema> = ({ schema, httpPart }) => {
  const validate = (httpPart === "body" ? bodies : texts).compile(schema);
  return (value: unknown) => {
    if (validate(value)) return { value };
    const errors = collapse(validate.errors ?? []);
    return { error: (httpPart === "body" ? limitRefusal(errors) : undefined) ?? errors };
  };
};
