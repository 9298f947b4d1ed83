import { Readable } from "node:stream";
import type { Digest } from "@bulkhead/contracts";
import { GivenToken } from "../registry/authorization.ts";
import { RepositoryEndpoint } from "../registry/endpoint.ts";
import { HttpTransport } from "../registry/transport.ts";
import type { BlobFetcher } from "./blob-fetcher.ts";

export interface HttpBlobFetcherOptions {
  /** for example `http://127.0.0.1:7480`; `/v2/…` is added */
  readonly baseUrl: string;
  /** `<name>` of `/v2/<name>/blobs/<digest>` */
  readonly repository: string;
  /** sent as a bearer token; asked for again with each attempt, so that it may be renewed */
  readonly token?: () => string | Promise<string>;
  /** connections of its own trust; default: the machine's certificate authorities, and plain HTTP as the URL says */
  readonly transport?: HttpTransport;
  /** gives up when nothing arrived for this long, retries included (default 60,000 ms) */
  readonly deadlineMs?: number;
  /** a connection that brings nothing for this long is opened again (default 15,000 ms) */
  readonly stallMs?: number;
}

const codes = {
  unauthenticated: "UNAUTHENTICATED",
  forbidden: "FORBIDDEN",
  missing: "IMAGE_UNAVAILABLE",
  unavailable: "IMAGE_UNAVAILABLE",
} as const;

/** The scheduler's address is the operator's own choice, with TLS or without. */
const anyScheme = new HttpTransport({ plainHttp: true });

/** Fetches from the distribution API of the scheduler, and resumes where a connection broke. */
export class HttpBlobFetcher implements BlobFetcher {
  readonly #endpoint: RepositoryEndpoint;

  constructor(options: HttpBlobFetcherOptions) {
    this.#endpoint = new RepositoryEndpoint({
      baseUrl: options.baseUrl,
      repository: options.repository,
      transport: options.transport ?? anyScheme,
      authorization: options.token === undefined ? undefined : new GivenToken(options.token),
      codes,
      pace: { windowMs: options.stallMs ?? 15_000, minBytes: 1 },
      deadlineMs: options.deadlineMs ?? 60_000,
    });
  }

  async fetch(digest: Digest, signal: AbortSignal, kind: "blob" | "manifest" = "blob"): Promise<Readable> {
    signal.throwIfAborted();
    return Readable.from(this.#endpoint.content({ digest, kind, signal }), { objectMode: false });
  }
}
