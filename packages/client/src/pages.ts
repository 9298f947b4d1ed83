import type { ApiRequest } from "./request.ts";
import type { Transport } from "./transport.ts";

/** One page of a list; `nextCursor` asks for the next. */
export interface Page<Item> {
  readonly items: readonly Item[];
  readonly nextCursor: string | null;
}

/** Items asked for at a time. */
const pageSize = 100;

/** Every item of a list, page by page. */
export async function* listAll<Item>(
  transport: Transport,
  path: string,
  query: ApiRequest["query"] = {},
): AsyncGenerator<Item> {
  let cursor: string | undefined;
  do {
    const page: Page<Item> = await transport.json({
      method: "GET",
      path,
      query: { ...query, limit: pageSize, cursor },
    });
    yield* page.items;
    cursor = page.nextCursor ?? undefined;
  } while (cursor !== undefined);
}
