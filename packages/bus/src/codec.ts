import { storable } from "@bulkhead/contracts";
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

/**
 * Escapes as which alone JSON carries what storable() replaces: NUL and halves of surrogate pairs. Most messages have
 * none, and are not looked through.
 */
const suspect = /\\u(?:0000|d[89a-f])/i;

/** JSON text of a body, its texts made storable. Throws BadMessage when it does not fit: that is a fault of our own. */
export const encode = (schema: TSchema, body: unknown): string => {
  check(schema, body);
  const text = JSON.stringify(body);
  return suspect.test(text) ? JSON.stringify(storable(body)) : text;
};

/**
 * A body from the wire, its texts made storable, checked. Refusing a text that no database keeps would not do: a host
 * repeats its oldest report until it is taken, and everything after it would wait for ever. Throws BadMessage.
 */
export const decode = (schema: TSchema, text: string): unknown => {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new BadMessage("", "is not JSON");
  }
  const body = suspect.test(text) ? storable(value) : value;
  check(schema, body);
  return body;
};
