/**
 * Text that JSON, UTF-8 and Postgres all keep as it is. JavaScript's strings and JSON hold more: NUL, which Postgres has
 * in no text, and halves of surrogate pairs, which are no characters. What a host or a user sends may have them.
 */
const unstorable = /[\0\p{Surrogate}]/u;
const eachUnstorable = new RegExp(unstorable, "gu");
/** U+FFFD, which stands for what cannot be shown. */
const standIn = "\ufffd";

export const isStorable = (text: string): boolean => !unstorable.test(text);

/** The text with a stand-in for each unit that cannot be kept, and of at most `lengthMax` UTF-16 units. */
export const storableText = (text: string, lengthMax = Infinity): string => {
  // Replaced first: whether the cut goes through a character is then seen by its last unit alone.
  const kept = isStorable(text) ? text : text.replace(eachUnstorable, standIn);
  if (kept.length <= lengthMax) return kept;
  const cut = kept.slice(0, lengthMax);
  return isStorable(cut) ? cut : cut.slice(0, -1);
};

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null;

const pointerToken = (name: string): string => storableText(name).replaceAll("~", "~0").replaceAll("/", "~1");

/** JSON pointer (RFC 6901) of the first text in a JSON value that cannot be kept; undefined without one. */
export const unstorableAt = (value: unknown): string | undefined => {
  // A list of what is left to see instead of a call for each level: a stranger chooses how deeply it is nested.
  const left: [pointer: string, value: unknown][] = [["", value]];
  for (let next = left.pop(); next !== undefined; next = left.pop()) {
    const [pointer, seen] = next;
    if (typeof seen === "string" && !isStorable(seen)) return pointer;
    if (!isObject(seen)) continue;
    for (const [name, member] of Object.entries(seen).toReversed()) {
      // A name that cannot be kept is found in its turn, as if it were the member's text.
      left.push([`${pointer}/${pointerToken(name)}`, isStorable(name) ? member : name]);
    }
  }
  return undefined;
};

/** A JSON value all of whose texts can be kept: itself when they can, else a copy with stand-ins. */
export const storable = <Value>(value: Value): Value =>
  unstorableAt(value) === undefined ? value : (copy(value) as Value);

const copy = (value: unknown): unknown => {
  if (typeof value === "string") return storableText(value);
  if (Array.isArray(value)) return value.map(copy);
  if (!isObject(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [storableText(name), copy(member)]));
};
