import { chmod, chown, mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createAccount, createOperator, createUser, fromSeed, type KeyPair } from "@nats-io/nkeys";
import { signClaims } from "./jwt.ts";
import type { NatsServerSettings } from "./nats-config.ts";
import { scopeTemplate, type Role } from "./roles.ts";
import type { SystemUser } from "./system-user.ts";
import { mintUser } from "./users.ts";

/** Files of one service's credential, readable by its owner alone. */
export interface CredentialFiles {
  readonly jwtFile: string;
  readonly seedFile: string;
}

export interface ControlKeys {
  /** for natsServerConfig() */
  readonly trust: NonNullable<NatsServerSettings["trust"]>;
  readonly scheduler: CredentialFiles & { readonly hostSignerFile: string };
  readonly metrics: CredentialFiles;
}

/** JetStream and connection limits of the one account; -1 is unlimited, the server's own limits remain. */
const accountLimits = {
  subs: -1,
  data: -1,
  payload: -1,
  imports: -1,
  exports: -1,
  wildcards: true,
  conn: -1,
  leaf: 0,
  mem_storage: -1,
  disk_storage: -1,
  streams: 16,
  consumer: 64,
};

/** The server refuses a system account with JetStream. */
const systemLimits = { ...accountLimits, mem_storage: 0, disk_storage: 0, streams: 0, consumer: 0 };

/** Written beside and renamed, so that a crash leaves the old file or the new one. */
const writePrivate = async (file: string, text: string, owner?: SystemUser): Promise<void> => {
  const partial = `${file}.partial`;
  await writeFile(partial, text, { mode: 0o600 });
  if (owner !== undefined) await chown(partial, owner.uid, owner.gid);
  await rename(partial, file);
};

/** The key of a file, made at the first call. */
const keptKey = async (file: string, make: () => KeyPair, owner?: SystemUser): Promise<KeyPair> => {
  try {
    return fromSeed(new TextEncoder().encode((await readFile(file, "utf8")).trim()));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
  const key = make();
  await writePrivate(file, seedOf(key), owner);
  return key;
};

const seedOf = (key: KeyPair): string => new TextDecoder().decode(key.getSeed());

/**
 * Makes what an operator-mode server and its services need below `directory`: operator, account, system account, one
 * scoped signing key per role, the credentials of scheduler and metrics, and the host signer only the scheduler gets.
 * Idempotent: keys are kept, tokens are issued anew so that they follow the subjects catalogue. All files are 0600,
 * owned by their service's account when `owners` names it; operator and account seeds stay with the caller.
 */
export const createControlKeys = async (
  directory: string,
  owners: { readonly scheduler?: SystemUser; readonly metrics?: SystemUser } = {},
): Promise<ControlKeys> => {
  await privateDirectory(directory);
  const key = (name: string, make: () => KeyPair): Promise<KeyPair> => keptKey(join(directory, `${name}.nk`), make);
  const operator = await key("operator", createOperator);
  const account = await key("account", createAccount);
  const system = await key("system", createAccount);
  const signing: Record<Role, KeyPair> = {
    host: await key("signing-host", createAccount),
    scheduler: await key("signing-scheduler", createAccount),
    metrics: await key("signing-metrics", createAccount),
  };
  const now = Date.now();
  const issue = (name: string, sub: KeyPair, nats: Record<string, unknown>): string =>
    signClaims({ name, sub: sub.getPublicKey(), nats }, operator, now);
  const accountJwt = issue("bulkhead", account, {
    type: "account",
    limits: accountLimits,
    signing_keys: Object.entries(signing).map(([role, pair]) => scopeTemplate(role as Role, pair.getPublicKey())),
  });
  const credential = async (role: "scheduler" | "metrics"): Promise<CredentialFiles> => {
    const owner = owners[role];
    const home = join(directory, role);
    await privateDirectory(home, owner);
    const [jwtFile, seedFile] = [join(home, "nats.jwt"), join(home, "nats.nk")];
    const user = await keptKey(seedFile, createUser, owner);
    const signer = { account: account.getPublicKey(), seed: seedOf(signing[role]) };
    await writePrivate(jwtFile, mintUser({ signer, name: role, publicKey: user.getPublicKey() }), owner);
    return { jwtFile, seedFile };
  };
  const hostSigner = { account: account.getPublicKey(), seed: seedOf(signing.host) };
  const scheduler = await credential("scheduler");
  const hostSignerFile = join(directory, "scheduler", "host-signer.json");
  await writePrivate(hostSignerFile, JSON.stringify(hostSigner), owners.scheduler);
  return {
    trust: {
      operatorJwt: issue("bulkhead", operator, { type: "operator", system_account: system.getPublicKey() }),
      systemAccount: system.getPublicKey(),
      accounts: {
        [account.getPublicKey()]: accountJwt,
        [system.getPublicKey()]: issue("system", system, { type: "account", limits: systemLimits }),
      },
    },
    scheduler: { ...scheduler, hostSignerFile },
    metrics: await credential("metrics"),
  };
};

/** The top directory must be passable: services reach their own below it, and nothing in it is readable to others. */
const privateDirectory = async (path: string, owner?: SystemUser): Promise<void> => {
  await mkdir(path, { recursive: true });
  await chmod(path, owner === undefined ? 0o711 : 0o700);
  if (owner !== undefined) await chown(path, owner.uid, owner.gid);
};
