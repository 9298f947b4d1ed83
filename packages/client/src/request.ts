/** One API request as the client makes it; what `--print-request` shows. */
export interface ApiRequest {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** below the API's address, starting with `/` */
  readonly path: string;
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>;
  /** sent as JSON */
  readonly json?: unknown;
  /** sent as it is; what it is stands in `headers` */
  readonly stream?: AsyncIterable<Uint8Array>;
  /** how a person would name the streamed body (a file name) */
  readonly streamName?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

/** A request with its address and every header, ready to be sent or shown. */
export interface PreparedRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: { readonly kind: "none" } | { readonly kind: "json"; readonly text: string } | StreamBody;
}

interface StreamBody {
  readonly kind: "stream";
  readonly name: string;
  readonly content: AsyncIterable<Uint8Array>;
}

/** Address of a path and its query; undefined values are left out, `true` is sent as `true`. */
export const addressOf = (base: string, request: Pick<ApiRequest, "path" | "query">): string => {
  const url = new URL(base);
  url.pathname = `${url.pathname.replace(/\/$/, "")}${request.path}`;
  for (const [name, value] of Object.entries(request.query ?? {})) {
    if (value !== undefined) url.searchParams.set(name, String(value));
  }
  return url.href;
};

/** One path segment; ids and names never contain `/`, and what does must not become two segments. */
export const segment = (value: string): string => encodeURIComponent(value);
