import {
  AttachShare,
  CreateKernel,
  CreateShare,
  CreateNetwork,
  CreateToken,
  CreateWorkload,
  Event,
  Host,
  HostCredential,
  Image,
  Instance,
  InstanceView,
  JoinHost,
  Kernel,
  LayerProgress,
  Network,
  Operation,
  PatchWorkload,
  Problem,
  PullImage,
  RestoreSnapshot,
  Share,
  ShareChange,
  ShareGraph,
  ShareUse,
  Snapshot,
  Token,
  Workload,
  fleetError,
} from "@bulkhead/contracts";
import { Ajv, type AnySchema, type ErrorObject } from "ajv";
import addFormats from "ajv-formats";
import type { FastifySchemaCompiler } from "fastify";
import type { TSchema } from "typebox";

const named: readonly TSchema[] = [
  AttachShare,
  CreateKernel,
  CreateShare,
  CreateNetwork,
  CreateToken,
  CreateWorkload,
  Event,
  Host,
  HostCredential,
  Image,
  Instance,
  InstanceView,
  JoinHost,
  Kernel,
  LayerProgress,
  Network,
  Operation,
  PatchWorkload,
  Problem,
  PullImage,
  RestoreSnapshot,
  Share,
  ShareChange,
  ShareGraph,
  ShareUse,
  Snapshot,
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

type Parameters = Readonly<Record<string, unknown>>;
type Members = Readonly<Record<string, string | undefined>>;

/** Where an error points, down to the member that is missing or unknown. */
const placeOf = ({ instancePath, params }: ErrorObject): string => {
  const { missingProperty, additionalProperty, propertyName } = params as Members;
  return `${instancePath}/${missingProperty ?? additionalProperty ?? propertyName ?? ""}`;
};

/** A union of literals as one error that lists them, in place of one for each and one for the union. */
const asChoice = (union: ErrorObject, errors: readonly ErrorObject[]): ErrorObject | undefined => {
  const branches = errors.filter(
    ({ schemaPath, instancePath }) =>
      instancePath === union.instancePath && schemaPath.startsWith(`${union.schemaPath}/`),
  );
  if (branches.length === 0 || branches.some(({ keyword }) => keyword !== "const")) return undefined;
  const allowedValues = branches.map(({ params }) => (params as Parameters)["allowedValue"]);
  return { ...union, keyword: "enum", params: { allowedValues } };
};

/** One error for each thing that is wrong: the first at its place, and unions as people read them. */
const collapse = (errors: readonly ErrorObject[]): ErrorObject[] => {
  const choices = errors.filter(({ keyword }) => keyword === "anyOf").map((union) => asChoice(union, errors));
  const told = new Map<string, ErrorObject>();
  for (const choice of choices) if (choice !== undefined) told.set(placeOf(choice), choice);
  for (const error of errors) {
    // That an optional value is not null is no news when something is wrong with the value.
    const isNullBranch = error.keyword === "type" && (error.params as Parameters)["type"] === "null";
    if (!isNullBranch && !told.has(placeOf(error))) told.set(placeOf(error), error);
  }
  const found = [...told.values()];
  // The union itself says nothing more than what is wrong inside it.
  const telling = found.filter(({ keyword }) => keyword !== "anyOf");
  return (telling.length > 0 ? telling : found).slice(0, maximumErrors);
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
