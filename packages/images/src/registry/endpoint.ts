import { type Digest, type ErrorCode, fleetError, isFleetError } from "@bulkhead/contracts";
import { indexMediaTypes, manifestMediaTypes } from "../oci/manifest.ts";
import { OutOfPatience, Patience, Transient, Unusable, isTransientStatus, reasonOf, retryAfterMs } from "./attempts.ts";
import { type Authorization, Denied } from "./authorization.ts";
import { bounded } from "./bounded.ts";
import { type Pace, paced } from "./paced.ts";
import { follow } from "./redirects.ts";
import type { HttpAnswer, HttpTransport } from "./transport.ts";

/** Which codes failures get: a registry's refusal is not our API's. */
export interface FailureCodes {
  readonly unauthenticated: ErrorCode;
  readonly forbidden: ErrorCode;
  readonly missing: ErrorCode;
  readonly unavailable: ErrorCode;
}

export interface EndpointOptions {
  /** `/v2/…` is added */
  readonly baseUrl: string;
  readonly repository: string;
  readonly transport: HttpTransport;
  readonly authorization: Authorization | undefined;
  readonly codes: FailureCodes;
  readonly pace: Pace;
  /** gives up when too little arrived for this long, retries included, in milliseconds */
  readonly deadlineMs: number;
}

export interface ContentRequest {
  readonly digest: Digest;
  readonly kind: "blob" | "manifest";
  /** bytes that are there already */
  readonly offset?: number;
  /** size it must have; more is an error at once, less is asked for again */
  readonly sizeBytes?: number;
  readonly signal: AbortSignal;
}

const manifestAccept = [...manifestMediaTypes].join(", ");
const anyAccept = [...manifestMediaTypes, ...indexMediaTypes].join(", ");

/** Drops the bytes that a server without ranges sent again. */
async function* skip(source: AsyncIterable<Uint8Array>, count: number): AsyncGenerator<Uint8Array> {
  let left = count;
  for await (const chunk of source) {
    const dropped = Math.min(left, chunk.byteLength);
    left -= dropped;
    if (dropped < chunk.byteLength) yield chunk.subarray(dropped);
  }
}

/** One repository of one server that speaks the distribution API, with its retries. What it answers is not verified. */
export class RepositoryEndpoint {
  readonly #options: EndpointOptions;
  readonly #scope: string;

  constructor(options: EndpointOptions) {
    this.#options = options;
    this.#scope = `repository:${options.repository}:pull`;
  }

  get baseUrl(): string {
    return this.#options.baseUrl;
  }

  /** Content by digest, resumed where a connection broke. Throws the codes given at construction. */
  async *content(wanted: ContentRequest): AsyncGenerator<Uint8Array> {
    const { deadlineMs, pace } = this.#options;
    const patience = new Patience(deadlineMs);
    let [offset, recent] = [wanted.offset ?? 0, 0];
    for (;;) {
      try {
        for await (const chunk of this.#from(wanted, offset)) {
          offset += chunk.byteLength;
          if (wanted.sizeBytes !== undefined && offset > wanted.sizeBytes) {
            throw fleetError(
              "IMAGE_DIGEST_MISMATCH",
              `${wanted.digest} is larger than the ${wanted.sizeBytes} bytes it should have`,
            );
          }
          recent += chunk.byteLength;
          if (recent >= pace.minBytes) {
            patience.progress();
            recent = 0;
          }
          const given = performance.now();
          yield chunk;
          patience.extend(performance.now() - given);
        }
        if (wanted.sizeBytes !== undefined && offset < wanted.sizeBytes) {
          throw new Transient(`${wanted.digest} ended after ${offset} of ${wanted.sizeBytes} bytes`);
        }
        return;
      } catch (cause) {
        await this.#afterFailure(cause, { patience, what: `${wanted.kind} ${wanted.digest}`, signal: wanted.signal });
      }
    }
  }

  /** A whole manifest or index by tag or digest. Throws also IMAGE_TOO_LARGE. */
  async document(reference: string, { maxBytes, signal }: { maxBytes: number; signal: AbortSignal }): Promise<Buffer> {
    const { deadlineMs, pace, repository, baseUrl } = this.#options;
    const what = `manifest ${repository}:${reference}`;
    const patience = new Patience(deadlineMs);
    for (;;) {
      try {
        const answer = await this.#ask(`manifests/${reference}`, { accept: anyAccept }, { signal, what });
        if (answer.status !== 200) throw this.#failure(answer, what);
        const tooLarge = () => fleetError("IMAGE_TOO_LARGE", `${what} of ${baseUrl} is larger than ${maxBytes} bytes`);
        return Buffer.concat(await Array.fromAsync(bounded(paced(answer.body, pace), { maxBytes, tooLarge })));
      } catch (cause) {
        await this.#afterFailure(cause, { patience, what, signal });
      }
    }
  }

  async *#from(wanted: ContentRequest, offset: number): AsyncGenerator<Uint8Array> {
    const what = `${wanted.kind} ${wanted.digest}`;
    const headers = {
      ...(wanted.kind === "manifest" ? { accept: manifestAccept } : {}),
      ...(offset > 0 ? { range: `bytes=${offset}-` } : {}),
    };
    const answer = await this.#ask(`${wanted.kind}s/${wanted.digest}`, headers, { signal: wanted.signal, what });
    const resumed = answer.status === 206 && answer.headers["content-range"]?.startsWith(`bytes ${offset}-`) === true;
    if (answer.status === 200 || resumed) {
      yield* skip(paced(answer.body, this.#options.pace), resumed ? 0 : offset);
      return;
    }
    // The connection broke just after the last byte.
    if (answer.status === 416 && offset > 0) {
      answer.body.destroy();
      return;
    }
    throw this.#failure(answer, what);
  }

  /** One request, repeated once with what the server asks for. */
  async #ask(
    path: string,
    headers: Readonly<Record<string, string>>,
    { signal, what }: { signal: AbortSignal; what: string },
  ): Promise<HttpAnswer> {
    const { baseUrl, repository, transport, authorization, pace } = this.#options;
    const url = new URL(`${baseUrl}/v2/${repository}/${path}`);
    for (let asked = false; ; asked = true) {
      const sent = await authorization?.header(this.#scope, signal);
      const silent = new AbortController();
      const timer = setTimeout(() => silent.abort(new Transient("the server does not answer")), pace.windowMs);
      const answer = await follow(transport, {
        url,
        headers: {
          // Ranges count bytes as stored, so no coding may be put on top of them.
          "accept-encoding": "identity",
          "user-agent": "bulkhead",
          ...headers,
          ...(sent === undefined ? {} : { authorization: sent }),
        },
        signal: AbortSignal.any([signal, silent.signal]),
      }).finally(() => clearTimeout(timer));
      // Whom we are sent on to has no say in where our credential goes.
      const asksUs = answer.status === 401 && answer.url.origin === url.origin;
      if (!asksUs || authorization === undefined) return answer;
      const challenge = answer.headers["www-authenticate"] ?? "";
      answer.body.destroy();
      if (asked || !(await authorization.refused(challenge, { scope: this.#scope, sent, signal }))) {
        throw new Denied(`${url.origin} answered 401 for ${what}`);
      }
    }
  }

  #failure(answer: HttpAnswer, what: string): Error {
    answer.body.destroy();
    const { codes, baseUrl } = this.#options;
    const { status, url, headers } = answer;
    const elsewhere = baseUrl.startsWith(url.origin) ? "" : ` (by way of ${url.origin})`;
    const said = `${baseUrl} answered ${status}${elsewhere} for ${what}`;
    if (isTransientStatus(status)) return new Transient(said, retryAfterMs(headers));
    const code = status === 401 ? codes.unauthenticated : status === 403 ? codes.forbidden : codes.missing;
    return fleetError(code, said);
  }

  /** Returns when another attempt is due, else throws what the caller should see. */
  async #afterFailure(
    cause: unknown,
    { patience, what, signal }: { patience: Patience; what: string; signal: AbortSignal },
  ): Promise<void> {
    signal.throwIfAborted();
    const { codes, baseUrl } = this.#options;
    if (isFleetError(cause)) throw cause;
    if (cause instanceof Denied) throw fleetError(codes.unauthenticated, `${baseUrl}: ${cause.message}`, { cause });
    const gaveUp = (why: unknown, wait = 0) =>
      fleetError(codes.unavailable, `${what} could not be fetched from ${baseUrl}: ${reasonOf(why)}`, {
        cause: why,
        ...(wait > 0 ? { fields: { retryAfterMs: Math.ceil(wait) } } : {}),
      });
    if (cause instanceof Unusable || isFinal(cause)) throw gaveUp(cause);
    try {
      await patience.pause(cause, signal);
    } catch (over) {
      if (over instanceof OutOfPatience) throw gaveUp(cause, over.retryAfterMs);
      throw over;
    }
  }
}

/** Faults of certificates and names, which stay as they are until somebody changes the configuration. */
const isFinal = (error: unknown): boolean =>
  error instanceof Error &&
  "code" in error &&
  typeof error.code === "string" &&
  /^(CERT_|ERR_TLS_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|ERR_INVALID_)/.test(error.code);
