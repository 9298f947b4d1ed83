import { buffer } from "node:stream/consumers";
import { Type } from "typebox";
import { parseDocument } from "../oci/document.ts";
import { Transient, Unusable, isTransientStatus, reasonOf, retryAfterMs } from "./attempts.ts";
import { type Challenge, parseChallenges } from "./challenge.ts";
import type { Credential } from "./credentials.ts";
import { type Pace, paced } from "./paced.ts";
import { follow } from "./redirects.ts";
import { type HttpTransport, isLoopback } from "./transport.ts";
import { bounded } from "./bounded.ts";

/** How requests to one server prove who asks. */
export interface Authorization {
  /** value of the `Authorization` header */
  header(scope: string, signal: AbortSignal): Promise<string | undefined>;
  /** Hears a 401 and the value that was refused; true when the request is worth repeating. */
  refused(
    challenge: string,
    request: { scope: string; sent: string | undefined; signal: AbortSignal },
  ): Promise<boolean>;
}

/** One token from elsewhere, asked for with each attempt, so that it may be renewed. */
export class GivenToken implements Authorization {
  readonly #token: () => string | Promise<string>;

  constructor(token: () => string | Promise<string>) {
    this.#token = token;
  }

  async header(): Promise<string> {
    return `Bearer ${await this.#token()}`;
  }

  async refused(): Promise<boolean> {
    return false;
  }
}

const TokenAnswer = Type.Object({
  token: Type.Optional(Type.String()),
  access_token: Type.Optional(Type.String()),
  expires_in: Type.Optional(Type.Number()),
});

const maxTokenBytes = 256 * 1024;
/** Lifetime of a token that does not say (distribution's token specification), in milliseconds. */
const defaultLifeMs = 60_000;
/** A token is renewed this part of its life before its end. */
const renewalShare = 0.2;

interface KeptToken {
  readonly value: string;
  readonly untilMs: number;
}

export interface ChallengedOptions {
  readonly transport: HttpTransport;
  /** the server that challenges */
  readonly origin: URL;
  readonly credential: Credential | undefined;
  readonly pace: Pace;
}

/** Answers a registry's challenge: basic, or a bearer token from the token server it names, renewed before it expires. */
export class ChallengedAuthorization implements Authorization {
  readonly #options: ChallengedOptions;
  #challenge: Challenge | undefined;
  readonly #tokens = new Map<string, KeptToken>();

  constructor(options: ChallengedOptions) {
    this.#options = options;
  }

  async header(scope: string, signal: AbortSignal): Promise<string | undefined> {
    if (this.#challenge === undefined) return undefined;
    if (this.#challenge.scheme === "basic") return this.#basic();
    const kept = this.#tokens.get(scope);
    if (kept !== undefined && performance.now() < kept.untilMs) return `Bearer ${kept.value}`;
    return `Bearer ${await this.#renew(scope, signal)}`;
  }

  async refused(
    header: string,
    { scope, sent, signal }: { scope: string; sent: string | undefined; signal: AbortSignal },
  ): Promise<boolean> {
    const offered = parseChallenges(header);
    const bearer = offered.find(({ scheme, parameters }) => scheme === "bearer" && parameters["realm"] !== undefined);
    const basic = offered.find(({ scheme }) => scheme === "basic");
    // A registry that offers both wants the credential at its token server.
    const challenge = bearer ?? basic;
    if (challenge === undefined) return false;
    const before = this.#challenge;
    this.#challenge = challenge;
    if (challenge.scheme === "basic") return sent === undefined && this.#basic() !== undefined;
    const kept = this.#tokens.get(scope);
    // Somebody else has renewed it meanwhile.
    if (kept !== undefined && sent !== `Bearer ${kept.value}`) return true;
    const hadToken = sent !== undefined && before?.scheme === "bearer";
    const value = await this.#renew(scope, signal);
    return !hadToken || sent !== `Bearer ${value}`;
  }

  #basic(): string | undefined {
    const { credential } = this.#options;
    if (credential?.kind !== "password") return undefined;
    return `Basic ${Buffer.from(`${credential.username}:${credential.password}`).toString("base64")}`;
  }

  #realm(): URL {
    const { origin, transport } = this.#options;
    const url = URL.parse(this.#challenge?.parameters["realm"] ?? "");
    if (url === null) throw new Unusable(`${origin.origin} names a token server that is no address`);
    const downgraded = origin.protocol === "https:" && url.protocol !== "https:" && !isLoopback(url);
    if (!transport.allows(url) || downgraded) {
      throw new Unusable(`${origin.origin} names the token server ${url.origin}, which has no TLS`);
    }
    url.username = "";
    url.password = "";
    return url;
  }

  async #renew(scope: string, signal: AbortSignal): Promise<string> {
    const { transport, credential, pace } = this.#options;
    const url = this.#realm();
    const service = this.#challenge?.parameters["service"];
    const fields = { ...(service === undefined ? {} : { service }), scope };
    const common = { accept: "application/json", "accept-encoding": "identity" };
    let sent;
    if (credential?.kind === "identity") {
      const body = new URLSearchParams({
        grant_type: "refresh_token",
        refresh_token: credential.token,
        client_id: "bulkhead",
        ...fields,
      }).toString();
      const headers = { ...common, "content-type": "application/x-www-form-urlencoded" };
      // No redirect is followed: the token would travel in the body.
      sent = transport.send({ url, method: "POST", headers, body, signal });
    } else {
      for (const [name, value] of Object.entries(fields)) url.searchParams.append(name, value);
      const basic = this.#basic();
      sent = follow(transport, {
        url,
        headers: { ...common, ...(basic === undefined ? {} : { authorization: basic }) },
        signal,
      });
    }
    const answer = await sent;
    if (answer.status !== 200) {
      answer.body.destroy();
      const said = `the token server ${url.origin} answered ${answer.status}`;
      if (isTransientStatus(answer.status)) throw new Transient(said, retryAfterMs(answer.headers));
      throw new Denied(said);
    }
    const bytes = await buffer(
      bounded(paced(answer.body, pace), {
        maxBytes: maxTokenBytes,
        tooLarge: () => new Unusable(`the token server ${url.origin} answers more than ${maxTokenBytes} bytes`),
      }),
    );
    return this.#keep(scope, bytes, url);
  }

  #keep(scope: string, bytes: Buffer, url: URL): string {
    let parsed;
    try {
      parsed = parseDocument(TokenAnswer, bytes, "the answer");
    } catch (cause) {
      // Without the cause: it may repeat the token.
      throw new Unusable(`the token server ${url.origin} gives no token: ${reasonOf(cause)}`);
    }
    const value = parsed.token ?? parsed.access_token ?? "";
    if (!/^[\x21-\x7e]+$/.test(value)) throw new Unusable(`the token server ${url.origin} gives no token`);
    const given = parsed.expires_in ?? 0;
    const lifeMs = given > 0 ? given * 1000 : defaultLifeMs;
    this.#tokens.set(scope, { value, untilMs: performance.now() + lifeMs * (1 - renewalShare) });
    return value;
  }
}

/** The server knows who asks, or wants to, and says no. */
export class Denied extends Error {}
