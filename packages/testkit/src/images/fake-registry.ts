import { type IncomingMessage, type Server, type ServerResponse, createServer } from "node:http";
import { createServer as createSecureServer } from "node:https";
import type { AddressInfo } from "node:net";
import { digestOf } from "@bulkhead/images";
import type { RegistryImage } from "./registry-image.ts";

/** Answers a request in its own way; false leaves it to the registry. */
export type Intercept = (request: IncomingMessage, response: ServerResponse) => boolean;

/** A registry in memory that can be made to misbehave, on a free port of the loopback. */
export class FakeRegistry implements AsyncDisposable {
  readonly requests: IncomingMessage[] = [];
  readonly manifests = new Map<string, Buffer>();
  readonly blobs = new Map<string, Buffer>();
  /** looked at before the registry answers */
  intercept: Intercept = () => false;
  readonly #server: Server;
  readonly #scheme: "http" | "https";

  private constructor(tls: { key: string; cert: string } | undefined) {
    const answer = (request: IncomingMessage, response: ServerResponse) => this.#answer(request, response);
    this.#scheme = tls === undefined ? "http" : "https";
    this.#server = tls === undefined ? createServer(answer) : createSecureServer(tls, answer);
  }

  static async start(options: { tls?: { key: string; cert: string } } = {}): Promise<FakeRegistry> {
    const registry = new FakeRegistry(options.tls);
    await new Promise<void>((resolve) => {
      registry.#server.listen(0, "127.0.0.1", resolve);
    });
    return registry;
  }

  get host(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get url(): string {
    return `${this.#scheme}://${this.host}`;
  }

  /** Takes an image; answers its reference. */
  add(image: RegistryImage, name = "app:1"): string {
    const [repository = "", tag = "latest"] = name.split(":");
    this.addDocument(image.manifest, `${repository}:${tag}`);
    for (const [digest, bytes] of image.blobs) this.blobs.set(digest, bytes);
    return `${this.host}/${repository}:${tag}`;
  }

  /** Takes a manifest or index under a name, and under its digest. */
  addDocument(bytes: Buffer, name: string): void {
    const [repository = "", tag = "latest"] = name.split(":");
    this.manifests.set(`${repository}:${tag}`, bytes);
    this.manifests.set(`${repository}:${digestOf(bytes)}`, bytes);
  }

  /** Paths asked for that contain this. */
  asked(part: string): readonly IncomingMessage[] {
    return this.requests.filter(({ url }) => url?.includes(part) === true);
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    this.requests.push(request);
    if (this.intercept(request, response)) return;
    const found = /^\/v2\/(?<repository>.+)\/(?<kind>manifests|blobs)\/(?<reference>[^/]+)$/.exec(
      request.url ?? "",
    )?.groups;
    const { repository = "", kind = "", reference = "" } = found ?? {};
    const bytes = kind === "blobs" ? this.blobs.get(reference) : this.manifests.get(`${repository}:${reference}`);
    if (bytes === undefined) {
      response.writeHead(404).end();
      return;
    }
    sendRange(request, response, bytes);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => {
      this.#server.close(resolve);
    });
  }
}

/** Sends bytes from where `Range` says. */
export const sendRange = (request: IncomingMessage, response: ServerResponse, bytes: Buffer): void => {
  const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0);
  if (start >= bytes.byteLength && start > 0) {
    response.writeHead(416).end();
    return;
  }
  response.writeHead(start > 0 ? 206 : 200, {
    "content-length": bytes.byteLength - start,
    ...(start > 0 ? { "content-range": `bytes ${start}-${bytes.byteLength - 1}/${bytes.byteLength}` } : {}),
  });
  response.end(bytes.subarray(start));
};
