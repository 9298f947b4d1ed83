import { fleetError } from "@bulkhead/contracts";

/** One page of a list; `nextCursor` is null on the last one. */
export interface Page<Item> {
  readonly items: Item[];
  readonly nextCursor: string | null;
}

export interface PageRequest {
  /** at most this many items */
  readonly limit: number;
  readonly cursor?: string;
}

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** True for text in the form of our ids, which names never are. */
export const isUuid = (text: string): boolean => uuid.test(text);

const nothing = "00000000-0000-0000-0000-000000000000";

/** Opaque to clients: the sort key of the last item they saw. */
const encodeCursor = (key: string): string => Buffer.from(key, "utf8").toString("base64url");

const decode = (cursor: string): string => Buffer.from(cursor, "base64url").toString("utf8");

const invalid = () =>
  fleetError("REQUEST_INVALID", "`cursor` is not one that a list answered with.", {
    fields: { errors: [{ pointer: "/cursor", message: "is not a cursor" }] },
  });

/** Id after which the page starts; the lowest one without a cursor. Throws REQUEST_INVALID. */
export const afterId = (cursor: string | undefined): string => {
  if (cursor === undefined) return nothing;
  const id = decode(cursor);
  if (!isUuid(id)) throw invalid();
  return id;
};

/** Text after which the page starts; empty without a cursor. Throws REQUEST_INVALID. */
export const afterText = (cursor: string | undefined): string => {
  if (cursor === undefined) return "";
  const text = decode(cursor);
  if (text === "" || text.includes("\0")) throw invalid();
  return text;
};

/** Makes the page of rows that were read one more than asked for, to know whether there are more. */
export const pageOf = <Row, Item>(
  rows: readonly Row[],
  limit: number,
  make: { item: (row: Row) => Item; key: (row: Row) => string },
): Page<Item> => {
  const shown = rows.slice(0, limit);
  const last = shown.at(-1);
  return {
    items: shown.map(make.item),
    nextCursor: rows.length > limit && last !== undefined ? encodeCursor(make.key(last)) : null,
  };
};
