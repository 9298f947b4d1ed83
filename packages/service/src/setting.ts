import type { TSchema } from "typebox";

/** What `setting()` adds to a schema: the variable it is read from, and whether its value may be shown. */
export interface SettingOptions {
  /** shown as `[redacted]` by printConfig() */
  readonly secret?: boolean;
  /** separates the items of an array (default `,`) */
  readonly separator?: string;
}

export interface SettingSource extends SettingOptions {
  readonly variable: string;
}

/** A schema property of this name says where the value comes from; JSON Schema ignores what it does not know. */
const sourceKey = "x-setting";

/**
 * One configuration value: a TypeBox schema (with its default and bounds) and the environment variable it is read
 * from. `setting("BULKHEAD_METRICS_PORT", Type.Integer({ default: 7481 }))`.
 */
export const setting = <Schema extends TSchema>(
  variable: string,
  schema: Schema,
  options: SettingOptions = {},
): Schema => {
  const source: SettingSource = { ...options, variable };
  // A spread would lose the kind that TypeBox keeps in properties that are not enumerable.
  return Object.defineProperties({} as Schema, {
    ...Object.getOwnPropertyDescriptors(schema),
    [sourceKey]: { value: source, enumerable: true },
  });
};

/** Where a property's value comes from, or undefined when the schema was not made by setting(). */
export const sourceOf = (schema: TSchema): SettingSource | undefined =>
  (schema as { [sourceKey]?: SettingSource })[sourceKey];
