import { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { type Digest, type ErrorCode, fleetError, isFleetError } from "@bulkhead/contracts";
import { mediaTypes } from "../oci/manifest.ts";
import type { BlobFetcher } from "./blob-fetcher.ts";

export interface HttpBlobFetcherOptions {
  /** for example `http://127.0.0.1:7480`; `/v2/…` is added */
  readonly baseUrl: string;
  /** `<name>` of `/v2/<name>/blobs/<digest>` */
  readonly repository: string;
  /** sent as a bearer token; asked for again with each attempt, so that it may be renewed */
  readonly token?: () => string | Promise<string>;
  /** gives up when nothing arrived for this long, retries included (default 60,000 ms) */
  readonly deadlineMs?: number;
  /** a connection that brings nothing for this long is opened again (default 15,000 ms) */
  readonly stallMs?: number;
}

const firstDelayMs = 100;
const maxDelayMs = 5_000;

const accept = [mediaTypes.manifest, "application/vnd.docker.distribution.manifest.v2+json"].join(", ");

/** Statuses that another attempt may change. */
const isTransient = (status: number): boolean => status === 408 || status === 425 || status === 429 || status >= 500;

const finalCode = (status: number): ErrorCode =>
  status === 401 ? "UNAUTHENTICATED" : status === 403 ? "FORBIDDEN" : "IMAGE_UNAVAILABLE";

class Transient extends Error {
  readonly retryAfterMs: number;

  constructor(message: string, retryAfterMs = 0) {
    super(message);
    this.retryAfterMs = retryAfterMs;
  }
}

/** fetch hides what happened ("fetch failed") in the cause. */
const reason = (error: unknown): string => {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message;
};

/** Seconds or a date (RFC 9110 section 10.2.3); 0 when absent. */
const retryAfter = (response: Response): number => {
  const text = response.headers.get("retry-after");
  if (text === null) return 0;
  const ms = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, ms) : 0;
};

/** Drops the bytes that a server without ranges sent again. */
async function* skip(source: AsyncIterable<Uint8Array>, count: number): AsyncGenerator<Uint8Array> {
  for await (const chunk of source) {
    const dropped = Math.min(count, chunk.byteLength);
    count -= dropped;
    if (dropped < chunk.byteLength) yield chunk.subarray(dropped);
  }
}

/** Fetches from the distribution API (`/v2/…`), of the scheduler or a registry, and resumes where a connection broke. */
export class HttpBlobFetcher implements BlobFetcher {
  readonly #options: HttpBlobFetcherOptions;
  readonly #deadlineMs: number;
  readonly #stallMs: number;

  constructor(options: HttpBlobFetcherOptions) {
    this.#options = options;
    this.#deadlineMs = options.deadlineMs ?? 60_000;
    this.#stallMs = options.stallMs ?? 15_000;
  }

  async fetch(digest: Digest, signal: AbortSignal, kind: "blob" | "manifest" = "blob"): Promise<Readable> {
    signal.throwIfAborted();
    return Readable.from(this.#content(digest, signal, kind), { objectMode: false });
  }

  async *#content(digest: Digest, signal: AbortSignal, kind: "blob" | "manifest"): AsyncGenerator<Uint8Array> {
    let offset = 0;
    let giveUpAt = performance.now() + this.#deadlineMs;
    for (let attempt = 0; ; attempt += 1) {
      try {
        for await (const chunk of this.#attempt({ digest, kind, offset, signal })) {
          offset += chunk.byteLength;
          attempt = 0;
          yield chunk;
          // Set after the consumer took the chunk: its slowness is not the server's.
          giveUpAt = performance.now() + this.#deadlineMs;
        }
        return;
      } catch (cause) {
        signal.throwIfAborted();
        if (isFleetError(cause)) throw cause;
        const asked = cause instanceof Transient ? cause.retryAfterMs : 0;
        const waitMs = Math.max(asked, Math.min(maxDelayMs, firstDelayMs * 2 ** Math.min(attempt, 10)));
        if (performance.now() + waitMs >= giveUpAt) {
          throw fleetError(
            "IMAGE_UNAVAILABLE",
            `${digest} could not be fetched from ${this.#options.baseUrl}: ${reason(cause)}`,
            {
              cause,
            },
          );
        }
        await delay(waitMs, undefined, { signal });
      }
    }
  }

  async *#attempt(wanted: {
    digest: Digest;
    kind: "blob" | "manifest";
    offset: number;
    signal: AbortSignal;
  }): AsyncGenerator<Uint8Array> {
    const stalled = new AbortController();
    const watch = () => setTimeout(() => stalled.abort(new Transient("the connection brought nothing")), this.#stallMs);
    let timer = watch();
    try {
      const response = await this.#request(wanted, AbortSignal.any([wanted.signal, stalled.signal]));
      if (response?.body == null) return;
      const body = response.body as AsyncIterable<Uint8Array>;
      for await (const chunk of skip(body, response.status === 206 ? 0 : wanted.offset)) {
        clearTimeout(timer);
        yield chunk;
        timer = watch();
      }
    } finally {
      clearTimeout(timer);
    }
  }

  /** Undefined when there is nothing after the offset. */
  async #request(
    wanted: { digest: Digest; kind: "blob" | "manifest"; offset: number },
    signal: AbortSignal,
  ): Promise<Response | undefined> {
    const { baseUrl, repository, token } = this.#options;
    const headers = new Headers(wanted.kind === "manifest" ? { accept } : {});
    if (token !== undefined) headers.set("authorization", `Bearer ${await token()}`);
    // Ranges count bytes as stored, so no coding may be put on top of them.
    headers.set("accept-encoding", "identity");
    if (wanted.offset > 0) headers.set("range", `bytes=${wanted.offset}-`);
    const response = await fetch(`${baseUrl}/v2/${repository}/${wanted.kind}s/${wanted.digest}`, { headers, signal });
    if (response.status === 200) return response;
    if (response.status === 206 && response.headers.get("content-range")?.startsWith(`bytes ${wanted.offset}-`)) {
      return response;
    }
    await response.body?.cancel();
    // The connection broke just after the last byte.
    if (response.status === 416 && wanted.offset > 0) return undefined;
    const said = `${baseUrl} answered ${response.status} for ${wanted.kind} ${wanted.digest}`;
    if (isTransient(response.status)) throw new Transient(said, retryAfter(response));
    throw fleetError(finalCode(response.status), said);
  }
}
