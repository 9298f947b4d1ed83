import { Agent as HttpAgent, type IncomingHttpHeaders, type IncomingMessage, request as requestPlain } from "node:http";
import { Agent as HttpsAgent, request as requestSecure } from "node:https";
import { isIPv4 } from "node:net";
import { getCACertificates } from "node:tls";
import { fleetError } from "@bulkhead/contracts";

export interface TransportOptions {
  /** PEM certificates to trust beside the machine's own */
  readonly ca?: string;
  /** allow plain HTTP to any host; to loopback it always is */
  readonly plainHttp?: boolean;
}

export interface HttpRequest {
  readonly url: URL;
  readonly method?: "GET" | "POST";
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly signal: AbortSignal;
}

export interface HttpAnswer {
  readonly url: URL;
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** read it or destroy it */
  readonly body: IncomingMessage;
}

/** True for addresses that do not leave the machine. */
export const isLoopback = ({ hostname }: Pick<URL, "hostname">): boolean =>
  hostname === "localhost" || hostname === "[::1]" || (isIPv4(hostname) && hostname.startsWith("127."));

/** Idle connections are kept this long, in milliseconds: a pull asks again at once or not at all. */
const idleMs = 5_000;

/** HTTP/1.1 with the machine's and our own certificate authorities; one request, no redirects, no retries. */
export class HttpTransport implements Disposable {
  readonly #plain = new HttpAgent({ keepAlive: true, timeout: idleMs });
  readonly #secure: HttpsAgent;
  readonly #plainHttp: boolean;

  constructor(options: TransportOptions = {}) {
    const trusted = options.ca === undefined ? {} : { ca: [...getCACertificates("default"), options.ca] };
    this.#secure = new HttpsAgent({ keepAlive: true, timeout: idleMs, ...trusted });
    this.#plainHttp = options.plainHttp ?? false;
  }

  allows(url: URL): boolean {
    return url.protocol === "https:" || (url.protocol === "http:" && (this.#plainHttp || isLoopback(url)));
  }

  /** Resolves when the headers are there. Rejects CONFIG_INVALID for plain HTTP that is not allowed. */
  async send({ url, method, headers, body, signal }: HttpRequest): Promise<HttpAnswer> {
    if (!this.allows(url)) {
      throw fleetError(
        "CONFIG_INVALID",
        `${url.origin} would be asked without TLS; set "plainHttp" for it in the scheduler's registry settings.`,
      );
    }
    signal.throwIfAborted();
    const secure = url.protocol === "https:";
    const { promise, resolve, reject } = Promise.withResolvers<HttpAnswer>();
    const sent = (secure ? requestSecure : requestPlain)(url, {
      method: method ?? "GET",
      headers: { ...headers, ...(body === undefined ? {} : { "content-length": String(Buffer.byteLength(body)) }) },
      agent: secure ? this.#secure : this.#plain,
      signal,
    });
    sent.once("response", (answer) => {
      resolve({ url, status: answer.statusCode ?? 0, headers: answer.headers, body: answer });
    });
    // Stays for the time after the answer, when the body's own error tells of it.
    sent.on("error", reject);
    sent.end(body);
    return promise;
  }

  [Symbol.dispose](): void {
    this.#plain.destroy();
    this.#secure.destroy();
  }
}
