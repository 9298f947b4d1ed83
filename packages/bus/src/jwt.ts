import { createHash } from "node:crypto";
import type { KeyPair } from "@nats-io/nkeys";

/** Claims that NATS reads; `nats` holds what is special to an operator, account or user. Times in Unix seconds. */
export interface Claims {
  readonly name: string;
  /** public key of whom this is about */
  readonly sub: string;
  readonly exp?: number;
  readonly nats: Readonly<Record<string, unknown>>;
}

/** Version of the claims' format; nats-server 2.x reads 2. */
const formatVersion = 2;

const encodePart = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");

/**
 * A NATS JWT signed by an nkey. The claims' own id is a hash of them, so equal claims of one second are one token;
 * `nowMs` is when it is issued.
 */
export const signClaims = (claims: Claims, issuer: KeyPair, nowMs: number): string => {
  const body = {
    ...claims,
    nats: { ...claims.nats, version: formatVersion },
    iss: issuer.getPublicKey(),
    iat: Math.floor(nowMs / 1000),
  };
  const jti = createHash("sha256").update(JSON.stringify(body)).digest("hex");
  const signed = `${encodePart({ typ: "JWT", alg: "ed25519-nkey" })}.${encodePart({ ...body, jti })}`;
  const signature = Buffer.from(issuer.sign(new TextEncoder().encode(signed))).toString("base64url");
  return `${signed}.${signature}`;
};
