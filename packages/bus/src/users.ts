import { readFile } from "node:fs/promises";
import type { HostId, Isolation } from "@bulkhead/contracts";
import { createUser, fromSeed } from "@nats-io/nkeys";
import { signClaims } from "./jwt.ts";

/** A scoped signing key and the account it speaks for. Whoever holds the seed can make users of its role. */
export interface UserSigner {
  /** account public key (A…) */
  readonly account: string;
  /** account signing seed (SA…) */
  readonly seed: string;
}

/** The signer that createControlKeys() wrote for the scheduler. */
export const readSigner = async (file: string): Promise<UserSigner> =>
  JSON.parse(await readFile(file, "utf8")) as UserSigner;

/**
 * A user JWT under a scoped key: it carries no permissions of its own, the account's template decides. `expiresAt` in
 * Unix seconds; without it the user is good until its account's JWT revokes it.
 */
export const mintUser = (options: {
  signer: UserSigner;
  name: string;
  /** user nkey (U…) whose seed the bearer must hold */
  publicKey: string;
  tags?: readonly string[];
  expiresAt?: number;
}): string => {
  const { signer, name, publicKey, tags = [], expiresAt } = options;
  return signClaims(
    {
      name,
      sub: publicKey,
      ...(expiresAt === undefined ? {} : { exp: expiresAt }),
      nats: { type: "user", issuer_account: signer.account, tags },
    },
    fromSeed(new TextEncoder().encode(signer.seed)),
    Date.now(),
  );
};

/** The credential of one host's agent of one kind: its own subjects and inbox, nothing else. */
export const mintHostUser = (options: {
  signer: UserSigner;
  publicKey: string;
  hostId: HostId;
  isolation: Isolation;
  expiresAt?: number;
}): string => {
  const { hostId, isolation, ...rest } = options;
  return mintUser({ ...rest, name: `host-${hostId}-${isolation}`, tags: [`host:${hostId}`, `kind:${isolation}`] });
};

/** A new user nkey. The seed proves who we are and never leaves its host; the public key is sent when joining. */
export const makeUserKey = (): { publicKey: string; seed: string } => {
  const pair = createUser();
  return { publicKey: pair.getPublicKey(), seed: new TextDecoder().decode(pair.getSeed()) };
};
