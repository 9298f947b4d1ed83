import { fleetError, unstorableAt } from "@bulkhead/contracts";
import type { Static, TSchema } from "typebox";
import { Value } from "typebox/value";

/**
 * Parses and validates one JSON document of an image, whose texts go to the database and to processes. Throws
 * IMAGE_INVALID saying where it is wrong.
 */
export const parseDocument = <T extends TSchema>(schema: T, bytes: Uint8Array, what: string): Static<T> => {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw fleetError("IMAGE_INVALID", `${what} is not valid JSON`, { cause });
  }
  const unstorable = unstorableAt(value);
  if (unstorable !== undefined) {
    throw fleetError("IMAGE_INVALID", `${what} has a NUL or half of a character in it, at ${unstorable || "/"}`);
  }
  if (Value.Check(schema, value)) return value;
  const [first] = Value.Errors(schema, value);
  throw fleetError("IMAGE_INVALID", `${what} is not valid at ${first?.instancePath || "/"}: ${first?.message ?? ""}`);
};
