import { type Digest, fleetError, isFleetError } from "@bulkhead/contracts";
import { digestOf } from "../digest.ts";
import { ChallengedAuthorization } from "./authorization.ts";
import type { RegistryCredentials } from "./credentials.ts";
import { RepositoryEndpoint } from "./endpoint.ts";
import type { Pace } from "./paced.ts";
import { type ImageReference, dockerHost, dockerRegistry } from "./reference.ts";
import type { RegistrySettings, ServerSettings } from "./settings.ts";
import { HttpTransport, isLoopback } from "./transport.ts";

/** How long a registry is waited for. */
export interface RegistryTimes {
  readonly pace: Pace;
  /** a registry is given up when too little came for this long, in milliseconds */
  readonly deadlineMs: number;
  /** the same for a mirror, which is worth less waiting: there is somebody else to ask */
  readonly mirrorDeadlineMs: number;
}

export const defaultRegistryTimes: RegistryTimes = {
  // About 1 KiB/s; slower lines would take a day for an image of 100 MB.
  pace: { windowMs: 15_000, minBytes: 16 * 1024 },
  deadlineMs: 60_000,
  mirrorDeadlineMs: 5_000,
};

const codes = {
  unauthenticated: "REGISTRY_DENIED",
  forbidden: "REGISTRY_DENIED",
  missing: "IMAGE_UNAVAILABLE",
  unavailable: "REGISTRY_UNAVAILABLE",
} as const;

/** Failures after which another server is worth asking. */
const isServersFault = (error: unknown): boolean =>
  isFleetError(error) &&
  (["REGISTRY_DENIED", "IMAGE_UNAVAILABLE", "REGISTRY_UNAVAILABLE", "IMAGE_DIGEST_MISMATCH"] as const).some(
    (code) => code === error.code,
  );

export interface OpenSource {
  readonly reference: ImageReference;
  readonly settings: RegistrySettings;
  readonly credentials: RegistryCredentials;
  readonly times: RegistryTimes;
}

/** Everything of one repository, from its mirrors or the registry itself, whoever has it first. */
export class RepositorySource implements Disposable {
  readonly reference: ImageReference;
  readonly #endpoints: readonly RepositoryEndpoint[];
  readonly #transports: readonly HttpTransport[];

  private constructor(
    reference: ImageReference,
    servers: readonly { endpoint: RepositoryEndpoint; transport: HttpTransport }[],
  ) {
    this.reference = reference;
    this.#endpoints = servers.map(({ endpoint }) => endpoint);
    this.#transports = servers.map(({ transport }) => transport);
  }

  /** Asks nobody yet. Rejects CONFIG_INVALID. */
  static async open({ reference, settings, credentials, times }: OpenSource): Promise<RepositorySource> {
    const { registry, repository } = reference;
    const serverHost = registry === dockerRegistry ? dockerHost : registry;
    const own = await settings.server(registry);
    // Without TLS only where that was said, or where nothing leaves the machine and nothing was said.
    const plain = own.plainHttp ?? (own.ca === undefined && isLoopback(new URL(`http://${serverHost}`)));
    const origin = {
      host: registry,
      base: `${plain ? "http" : "https"}://${serverHost}`,
      deadlineMs: times.deadlineMs,
    };
    const mirrors = settings.mirrors(registry).map((base) => ({
      host: new URL(base).host,
      base: base.replace(/\/+$/, ""),
      deadlineMs: times.mirrorDeadlineMs,
    }));
    const servers = [];
    for (const { host, base, deadlineMs } of [...mirrors, origin]) {
      const url = new URL(base);
      const transport = new HttpTransport(withoutUndefined(await settings.server(host)));
      const credential = credentials.of(host);
      const authorization = new ChallengedAuthorization({ transport, origin: url, credential, pace: times.pace });
      const path = url.pathname === "/" ? "" : `${url.pathname.slice(1)}/`;
      const endpoint = new RepositoryEndpoint({
        baseUrl: url.origin,
        repository: `${path}${repository}`,
        transport,
        authorization,
        codes,
        pace: times.pace,
        deadlineMs,
      });
      servers.push({ endpoint, transport });
    }
    return new RepositorySource(reference, servers);
  }

  /** A manifest or index by tag or digest; by digest it is verified. Throws IMAGE_DIGEST_MISMATCH, IMAGE_TOO_LARGE, … */
  manifest(
    wanted: string | Digest,
    options: { maxBytes: number; signal: AbortSignal },
  ): Promise<{ bytes: Buffer; digest: Digest }> {
    return this.#first(options.signal, async (endpoint) => {
      const bytes = await endpoint.document(wanted, options);
      const digest = digestOf(bytes);
      if (wanted.startsWith("sha256:") && wanted !== digest) {
        throw fleetError("IMAGE_DIGEST_MISMATCH", `${endpoint.baseUrl} answered ${digest} for the manifest ${wanted}`);
      }
      return { bytes, digest };
    });
  }

  /** Hands a blob's bytes from `offset` on to `take`, again from another server when that fails. */
  blob(
    wanted: { digest: Digest; sizeBytes: number; signal: AbortSignal },
    take: (bytes: (offset: number) => AsyncIterable<Uint8Array>) => Promise<void>,
  ): Promise<void> {
    return this.#first(wanted.signal, (endpoint) =>
      take((offset) => endpoint.content({ ...wanted, kind: "blob", offset })),
    );
  }

  async #first<T>(signal: AbortSignal, ask: (endpoint: RepositoryEndpoint) => Promise<T>): Promise<T> {
    const said: string[] = [];
    for (const [at, endpoint] of this.#endpoints.entries()) {
      try {
        return await ask(endpoint);
      } catch (cause) {
        signal.throwIfAborted();
        const last = at === this.#endpoints.length - 1;
        if (!isFleetError(cause) || !isServersFault(cause)) throw cause;
        if (!last) {
          said.push(cause.message);
          continue;
        }
        if (said.length === 0) throw cause;
        throw fleetError(cause.code, `${cause.message}; before it, mirrors failed: ${said.join("; ")}`, {
          cause,
          fields: cause.fields,
        });
      }
    }
    throw fleetError("INTERNAL", "a repository has no server");
  }

  [Symbol.dispose](): void {
    for (const transport of this.#transports) transport[Symbol.dispose]();
  }
}

const withoutUndefined = ({ plainHttp, ca }: ServerSettings) => ({
  plainHttp: plainHttp ?? false,
  ...(ca === undefined ? {} : { ca }),
});
