import { fleetError } from "@bulkhead/contracts";
import type { Static, TObject, TSchema } from "typebox";
import { Value } from "typebox/value";
import { sourceOf, type SettingSource } from "./setting.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

interface Shape {
  readonly type?: string;
  readonly items?: TSchema;
}

const booleans: Readonly<Record<string, boolean>> = { true: true, "1": true, false: false, "0": false };

/** Text of a variable to the schema's type. Returns the text itself when it does not fit, so that the check names it. */
const parse = (text: string, schema: TSchema, source: SettingSource): unknown => {
  const { type, items } = schema as Shape;
  const separator = source.separator ?? ",";
  switch (type) {
    case "integer":
      return /^-?[0-9]+$/.test(text) ? Number(text) : text;
    case "number":
      return text.trim() !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
    case "boolean":
      return booleans[text.toLowerCase()] ?? text;
    case "array":
      return text
        .split(separator)
        .filter((item) => item !== "")
        .map((item) => (items === undefined ? item : parse(item, items, source)));
    case "object":
      return Object.fromEntries(
        text
          .split(separator)
          .filter((item) => item !== "")
          .map((item): [string, string] => {
            const at = item.indexOf("=");
            return at < 0 ? [item, ""] : [item.slice(0, at), item.slice(at + 1)];
          }),
      );
    default:
      return text;
  }
};

/** A union of literals says more as a list than as "matches no branch". */
const choices = (schema: TSchema): string | undefined => {
  const branches = (schema as { anyOf?: readonly { const?: unknown }[] }).anyOf ?? [];
  const values = branches
    .map((branch) => branch.const)
    .filter((value) => value !== undefined)
    .map(String);
  return values.length === 0 ? undefined : `must be one of ${values.join(", ")}`;
};

const freeze = <T>(value: T): T => {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) freeze(inner);
  }
  return value;
};

/**
 * Reads every setting() of the schema from the environment, once. An empty variable counts as unset. Throws
 * CONFIG_INVALID naming every bad or missing variable at once; the result is deeply frozen.
 */
export const loadConfig = <Schema extends TObject>(
  schema: Schema,
  environment: Environment = process.env,
): Readonly<Static<Schema>> => {
  const config: Record<string, unknown> = {};
  const faults: string[] = [];
  const required = new Set((schema as { required?: readonly string[] }).required);
  for (const [key, property] of Object.entries(schema.properties)) {
    const source = sourceOf(property);
    if (source === undefined) throw new TypeError(`configuration key without a setting(): ${key}`);
    const text = environment[source.variable];
    if (text === undefined || text === "") {
      const { default: fallback } = property as { default?: unknown };
      if (fallback !== undefined) config[key] = structuredClone(fallback);
      else if (required.has(key)) faults.push(`${source.variable} is not set`);
      continue;
    }
    const value = parse(text, property, source);
    const error = Value.Errors(property, value)[0];
    if (error === undefined) config[key] = value;
    else {
      const wanted = choices(property) ?? error.message;
      const shown = source.secret === true ? "" : ` (it is ${JSON.stringify(maskPassword(text))})`;
      faults.push(`${source.variable} ${wanted}${shown}`);
    }
  }
  if (faults.length > 0) throw fleetError("CONFIG_INVALID", `${faults.join("; ")}.`);
  return freeze(config as Static<Schema>);
};

/** The password of a URL is hidden wherever a URL is shown. */
const maskPassword = (text: string): string => text.replace(/(:\/\/[^:/@\s]*):[^@\s]*@/, "$1:[redacted]@");

/** `VARIABLE=value` lines of a loaded configuration for `--print-config`, secrets and URL passwords redacted. */
export const printConfig = <Schema extends TObject>(schema: Schema, config: Readonly<Static<Schema>>): string =>
  Object.entries(schema.properties)
    .map(([key, property]) => {
      const source = sourceOf(property);
      if (source === undefined) throw new TypeError(`configuration key without a setting(): ${key}`);
      const value = (config as Record<string, unknown>)[key];
      if (value === undefined) return `# ${source.variable} is not set`;
      return `${source.variable}=${source.secret === true ? "[redacted]" : show(value, source.separator ?? ",")}`;
    })
    .join("\n");

const show = (value: unknown, separator: string): string => {
  if (Array.isArray(value)) return value.map((item) => show(item, separator)).join(separator);
  if (typeof value === "object" && value !== null) {
    return Object.entries(value)
      .map(([key, inner]) => `${key}=${show(inner, separator)}`)
      .join(separator);
  }
  return maskPassword(String(value));
};
