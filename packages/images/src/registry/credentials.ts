import { open } from "node:fs/promises";
import { fleetError } from "@bulkhead/contracts";
import { type Static, Type } from "typebox";
import { parseDocument } from "../oci/document.ts";
import { dockerHost, dockerRegistry } from "./reference.ts";

/** How a registry knows us: a password, or a token that its token server exchanges. */
export type Credential =
  | { readonly kind: "password"; readonly username: string; readonly password: string }
  | { readonly kind: "identity"; readonly token: string };

const Entry = Type.Object({
  auth: Type.Optional(Type.String()),
  username: Type.Optional(Type.String()),
  password: Type.Optional(Type.String()),
  identitytoken: Type.Optional(Type.String()),
});

// Docker's config.json has much more; only what names credentials matters.
const ConfigFile = Type.Object({
  auths: Type.Optional(Type.Record(Type.String(), Entry)),
  credHelpers: Type.Optional(Type.Record(Type.String(), Type.String())),
  credsStore: Type.Optional(Type.String()),
});

/** Bytes of a credentials file; a real one has some hundred. */
const maxFileBytes = 2 ** 20;

const invalid = (file: string, why: string) => fleetError("CONFIG_INVALID", `${file} ${why}`);

/** Rejects CONFIG_INVALID when others may read it; undefined when there is none. */
const readPrivate = async (file: string): Promise<Buffer | undefined> => {
  const handle = await open(file, "r").catch((cause: unknown) => {
    if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") return undefined;
    throw fleetError("CONFIG_INVALID", `${file} cannot be read`, { cause });
  });
  if (handle === undefined) return undefined;
  await using opened = handle;
  const info = await opened.stat();
  if (!info.isFile()) throw invalid(file, "is not a file");
  if ((info.mode & 0o077) !== 0) throw invalid(file, "holds passwords and others may read it: set its mode to 0600");
  if (info.size > maxFileBytes) throw invalid(file, `is larger than ${maxFileBytes} bytes`);
  return opened.readFile();
};

/** `https://host/v1/` and `host` name one registry. */
const hostOf = (key: string): string => {
  const host =
    key
      .replace(/^https?:\/\//, "")
      .split("/")[0]
      ?.toLowerCase() ?? "";
  return host === "index.docker.io" || host === dockerHost ? dockerRegistry : host;
};

/** The registries' credentials of one file. Never logged: it has no members that a serializer would show. */
export class RegistryCredentials {
  readonly #byHost: ReadonlyMap<string, Credential>;
  readonly #unsupported: ReadonlySet<string>;

  private constructor(byHost: ReadonlyMap<string, Credential>, unsupported: ReadonlySet<string>) {
    this.#byHost = byHost;
    this.#unsupported = unsupported;
  }

  static readonly none = new RegistryCredentials(new Map(), new Set());

  /**
   * Reads a file in the format of Docker's config.json. A missing file has no credentials. Rejects CONFIG_INVALID for
   * one that others may read or that is malformed; the message never repeats its content.
   */
  static async read(file: string): Promise<RegistryCredentials> {
    const bytes = await readPrivate(file);
    if (bytes === undefined) return RegistryCredentials.none;
    let parsed;
    try {
      parsed = parseDocument(ConfigFile, bytes, file);
    } catch (cause) {
      throw invalid(file, `is not a registry credentials file: ${cause instanceof Error ? cause.message : ""}`);
    }
    const byHost = new Map<string, Credential>();
    for (const [key, entry] of Object.entries(parsed.auths ?? {})) {
      const credential = credentialOf(entry, `${file}, entry ${key}`);
      if (credential !== undefined) byHost.set(hostOf(key), credential);
    }
    const helpers = Object.keys(parsed.credHelpers ?? {}).map(hostOf);
    return new RegistryCredentials(byHost, new Set(helpers.filter((host) => !byHost.has(host))));
  }

  /** Throws CONFIG_INVALID for a registry whose credentials only a helper program has: none is ever started. */
  of(registryHost: string): Credential | undefined {
    const host = hostOf(registryHost);
    if (this.#unsupported.has(host)) {
      throw fleetError(
        "CONFIG_INVALID",
        `The credentials of ${host} are kept by a credential helper, which the scheduler does not start; use \`bulkhead registry login\`.`,
      );
    }
    return this.#byHost.get(host);
  }
}

const credentialOf = (entry: Static<typeof Entry>, what: string): Credential | undefined => {
  if (entry.identitytoken !== undefined && entry.identitytoken !== "") {
    return { kind: "identity", token: entry.identitytoken };
  }
  if (entry.username !== undefined && entry.password !== undefined) {
    return { kind: "password", username: entry.username, password: entry.password };
  }
  if (entry.auth === undefined || entry.auth === "") return undefined;
  const text = Buffer.from(entry.auth, "base64").toString("utf8");
  const colon = text.indexOf(":");
  if (colon < 1) throw fleetError("CONFIG_INVALID", `${what}: "auth" is not base64 of user:password`);
  return { kind: "password", username: text.slice(0, colon), password: text.slice(colon + 1) };
};
