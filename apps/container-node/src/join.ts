import { readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { makeUserKey } from "@bulkhead/bus";
import { fleetError, HostCredential, type JoinHost, type Problem } from "@bulkhead/contracts";
import { Value } from "typebox/value";
import { readStoredCredential, writeStoredCredential, type StoredCredential } from "./credential.ts";

export interface JoinOptions {
  readonly apiUrl: string;
  /** file with the token for joining; "" when there is none */
  readonly tokenFile: string;
  readonly credentialFile: string;
  /** who joins; its public key is made here */
  readonly host: Omit<JoinHost, "publicKey">;
  readonly log: { info(fields: object, message: string): void; warn(fields: object, message: string): void };
  readonly signal: AbortSignal;
}

const requestMs = 5_000;
const retryMs = 500;
/** How long a host that has never joined waits for the API, in milliseconds. */
const patienceMs = 60_000;

/** Whether the control plane there still knows a credential; null when it does not answer. */
const isKnown = async ({ apiUrl, signal }: JoinOptions, { httpToken }: StoredCredential): Promise<boolean | null> => {
  try {
    const answer = await fetch(`${apiUrl}/v2/`, {
      headers: { authorization: `Bearer ${httpToken}` },
      signal: AbortSignal.any([signal, AbortSignal.timeout(requestMs)]),
    });
    await answer.body?.cancel();
    return answer.ok ? true : answer.status === 401 ? false : null;
  } catch {
    return null;
  }
};

const post = async ({ apiUrl, signal }: JoinOptions, token: string, body: JoinHost): Promise<HostCredential> => {
  const answer = await fetch(`${apiUrl}/internal/hosts/join`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: JSON.stringify(body),
    signal: AbortSignal.any([signal, AbortSignal.timeout(requestMs)]),
  });
  const text = await answer.text();
  if (answer.status !== 201) {
    const { code = "INTERNAL", detail = text } = JSON.parse(text) as Partial<Problem>;
    if (answer.status >= 500) throw new Error(`${apiUrl} answers ${answer.status} ${code}: ${detail}`);
    throw fleetError("FORBIDDEN", `${apiUrl} does not let this machine join (${code}): ${detail}`);
  }
  const credential: unknown = JSON.parse(text);
  if (!Value.Check(HostCredential, credential)) throw new Error(`${apiUrl} sent a credential that is none`);
  return credential;
};

const join = async (options: JoinOptions, key: { publicKey: string; seed: string }): Promise<StoredCredential> => {
  const token = (await readFile(options.tokenFile, "utf8")).trim();
  const deadline = performance.now() + patienceMs;
  for (;;) {
    try {
      const credential = await post(options, token, { ...options.host, publicKey: key.publicKey });
      const stored = { ...credential, ...key };
      await writeStoredCredential(options.credentialFile, stored);
      options.log.info({ clusterId: credential.clusterId, apiUrl: options.apiUrl }, "host joined");
      return stored;
    } catch (error) {
      if (error instanceof Error && error.name === "FleetError") throw error;
      if (options.signal.aborted || performance.now() > deadline) throw error;
      options.log.warn({ err: error, apiUrl: options.apiUrl }, "join not answered");
    }
    await delay(retryMs, undefined, { signal: options.signal });
  }
};

/**
 * The credential this host works with. One that the control plane knows is kept, and one is kept too while nobody
 * answers: instances need no control plane. One that it does not know, because its database is another, is replaced
 * when there is a token to join with. Rejects FORBIDDEN, or CONFIG_INVALID when there is nothing to join with.
 */
export const joinedCredential = async (options: JoinOptions): Promise<StoredCredential> => {
  const stored = await readStoredCredential(options.credentialFile);
  if (stored !== null) {
    const known = await isKnown(options, stored);
    if (known !== false) return stored;
    if (options.tokenFile === "") {
      options.log.warn({ apiUrl: options.apiUrl }, "credential unknown there, and no token to join anew");
      return stored;
    }
    return join(options, { publicKey: stored.publicKey, seed: stored.seed });
  }
  if (options.tokenFile === "") {
    throw fleetError(
      "CONFIG_INVALID",
      "This machine is no host yet: set BULKHEAD_JOIN_TOKEN_FILE to a file with a join token, or an admin token.",
    );
  }
  return join(options, makeUserKey());
};
