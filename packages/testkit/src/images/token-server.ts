import { randomBytes } from "node:crypto";
import { type IncomingMessage, type Server, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";

export interface TokenServerOptions {
  /** lets in; undefined lets anyone in */
  readonly basic?: string;
  /** refresh token of the OAuth flow */
  readonly identity?: string;
  readonly expiresIn?: number;
  /** makes a token for one scope; default: random words */
  readonly make?: (asked: { service: string; scope: string }) => string;
}

/** A token server of the distribution API on a free port of the loopback. */
export class TokenServer implements AsyncDisposable {
  readonly requests: { readonly method: string; readonly scope: string; readonly authorization: string | undefined }[] =
    [];
  /** tokens given and not withdrawn */
  readonly valid = new Set<string>();
  readonly #options: TokenServerOptions;
  readonly #server: Server;

  private constructor(options: TokenServerOptions) {
    this.#options = options;
    this.#server = createServer((request, response) => {
      void this.#answer(request).then(({ status, body }) =>
        response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body)),
      );
    });
  }

  static async start(options: TokenServerOptions = {}): Promise<TokenServer> {
    const server = new TokenServer(options);
    await new Promise<void>((resolve) => {
      server.#server.listen(0, "127.0.0.1", resolve);
    });
    return server;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/token`;
  }

  async #answer(request: IncomingMessage): Promise<{ status: number; body: object }> {
    const { basic, identity, expiresIn, make } = this.#options;
    const posted = request.method === "POST" ? new URLSearchParams(await text(request)) : undefined;
    const asked = posted ?? new URL(request.url ?? "/", this.url).searchParams;
    const scope = asked.get("scope") ?? "";
    const { authorization } = request.headers;
    this.requests.push({ method: request.method ?? "", scope, authorization });
    const allowed =
      posted === undefined
        ? basic === undefined || authorization === `Basic ${Buffer.from(basic).toString("base64")}`
        : identity !== undefined && posted.get("refresh_token") === identity;
    if (!allowed) return { status: 401, body: { errors: [{ code: "UNAUTHORIZED" }] } };
    const token = make?.({ service: asked.get("service") ?? "", scope }) ?? randomBytes(16).toString("hex");
    this.valid.add(token);
    return { status: 200, body: { [posted === undefined ? "token" : "access_token"]: token, expires_in: expiresIn } };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => {
      this.#server.close(resolve);
    });
  }
}
