import { readFile } from "node:fs/promises";
import { fleetError } from "@bulkhead/contracts";
import { type Static, Type } from "typebox";
import { parseDocument } from "../oci/document.ts";

const closed = { additionalProperties: false } as const;

const RegistryEntry = Type.Object(
  {
    /** asked before the registry itself, in this order; a path in front of the repository is allowed */
    mirrors: Type.Optional(Type.Array(Type.String({ pattern: "^https?://[^/@?#]+(/[^@?#]*)?$" }), { maxItems: 16 })),
    /** speak HTTP without TLS */
    plainHttp: Type.Optional(Type.Boolean()),
    /** absolute path of PEM certificates to trust for this registry beside the machine's own */
    caFile: Type.Optional(Type.String({ pattern: "^/" })),
    /** only these projects may pull from it; default: all */
    projects: Type.Optional(Type.Array(Type.String())),
  },
  closed,
);

const SettingsFile = Type.Object(
  {
    /** refuse registries that are not listed */
    onlyListed: Type.Optional(Type.Boolean()),
    /** by `host` or `host:port`, mirrors' own hosts too */
    registries: Type.Optional(Type.Record(Type.String(), RegistryEntry)),
  },
  closed,
);
type SettingsFile = Static<typeof SettingsFile>;

/** How one server is reached. */
export interface ServerSettings {
  /** as configured; undefined when nothing was said */
  readonly plainHttp: boolean | undefined;
  readonly ca: string | undefined;
}

/** What an operator says about registries. */
export class RegistrySettings {
  readonly #file: SettingsFile;

  private constructor(file: SettingsFile) {
    this.#file = file;
  }

  static readonly none = new RegistrySettings({});

  /** Rejects CONFIG_INVALID when the file is missing or malformed: it was named, so it is meant. */
  static async read(file: string): Promise<RegistrySettings> {
    try {
      return new RegistrySettings(parseDocument(SettingsFile, await readFile(file), file));
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw fleetError("CONFIG_INVALID", `The registry settings cannot be used: ${why}`, { cause });
    }
  }

  /** Throws REGISTRY_DENIED when this project may not pull from this registry. */
  requireAllowed(registry: string, project: string): void {
    const entry = this.#file.registries?.[registry];
    if (entry === undefined && this.#file.onlyListed === true) {
      throw fleetError("REGISTRY_DENIED", `The registry ${registry} is not among those this fleet pulls from.`);
    }
    if (entry?.projects !== undefined && !entry.projects.includes(project)) {
      throw fleetError("REGISTRY_DENIED", `The project ${project} may not pull from ${registry}.`);
    }
  }

  mirrors(registry: string): readonly string[] {
    return this.#file.registries?.[registry]?.mirrors ?? [];
  }

  /** Rejects CONFIG_INVALID when its CA file cannot be read. */
  async server(host: string): Promise<ServerSettings> {
    const entry = this.#file.registries?.[host];
    const { caFile } = entry ?? {};
    if (caFile === undefined) return { plainHttp: entry?.plainHttp, ca: undefined };
    const ca = await readFile(caFile, "utf8").catch((cause: unknown) => {
      throw fleetError("CONFIG_INVALID", `The certificates ${caFile} for ${host} cannot be read.`, { cause });
    });
    return { plainHttp: entry?.plainHttp, ca };
  }
}
