import type { TSchema } from "typebox";
import { Compile } from "typebox/compile";

/** What came does not fit its schema; `pointer` says where. */
export class BadMessage extends Error {
  readonly pointer: string;

  constructor(pointer: string, message: string) {
    super(pointer === "" ? message : `${pointer}: ${message}`);
    this.name = "BadMessage";
    this.pointer = pointer;
  }
}

type Validator = ReturnType<typeof Compile>;
const compiled = new WeakMap<TSchema, Validator>();

/** Compiled at first use: a process uses few of the catalogue's schemas, and compiling all costs it memory. */
const validatorOf = (schema: TSchema): Validator => {
  const known = compiled.get(schema);
  if (known !== undefined) return known;
  const made = Compile(schema);
  compiled.set(schema, made);
  return made;
};

const check = (schema: TSchema, value: unknown): void => {
  const validator = validatorOf(schema);
  if (validator.Check(value)) return;
  const error = validator.Errors(value)[0];
  throw new BadMessage(error?.instancePath ?? "", error?.message ?? "does not fit its schema");
};

/** JSON text of a body. Throws BadMessage when it does not fit: that is a fault of our own. */
export const encode = (schema: TSchema, body: unknown): string => {
  check(schema, body);
  return JSON.stringify(body);
};

/** A body from the wire, checked. Throws BadMessage. */
export const decode = (schema: TSchema, text: string): unknown => {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new BadMessage("", "is not JSON");
  }
  check(schema, value);
  return value;
};
