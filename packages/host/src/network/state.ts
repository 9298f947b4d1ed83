import { renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { AssignedNetwork, InstanceId, Isolation, Name, NetworkId, ShareId, type Bandwidth } from "@bulkhead/contracts";
import { Type, type Static } from "typebox";
import { readJson, RecordDirectory } from "./record-directory.ts";

/** One run's place in a network, as either agent of the host finds it again. */
export const Attachment = Type.Object({
  link: Type.String({ pattern: "^v[0-9a-f]{8}[A-Za-z0-9_-]{6}$" }),
  index: Type.Integer({ minimum: 1 }),
  isolation: Isolation,
  instanceId: InstanceId,
  /** names the run among its instance's */
  run: Type.String(),
  network: AssignedNetwork,
  /** it is a tap device: nothing on the other side of it does what it is told */
  tap: Type.Optional(Type.Object({ egressBitsPerSec: Type.Union([Type.Integer({ minimum: 1 }), Type.Null()]) })),
  /** the share whose network namespace it connects, which is there after the run and has one link at most */
  share: Type.Optional(Type.Object({ shareId: ShareId, name: Name })),
});
export type Attachment = Static<typeof Attachment>;

/** A network that this host's kernel has a bridge and rules for. */
export const MadeNetwork = Type.Object({
  networkId: NetworkId,
  internal: Type.Boolean(),
  /** addresses of its bridge */
  gateways: Type.Array(Type.String()),
});
export type MadeNetwork = Static<typeof MadeNetwork>;

/** Names a run: two runs of one instance never share a link. */
export interface ConnectedRun {
  readonly instanceId: InstanceId;
  readonly run: string;
}

/** The networks of a host and everyone in them, of both agents. */
export interface NetworkView {
  readonly networks: readonly MadeNetwork[];
  readonly attachments: readonly Attachment[];
}

/** What a run asks for. */
export interface Connection extends ConnectedRun {
  readonly network: AssignedNetwork;
  readonly bandwidth: Bandwidth | undefined;
  /** the share whose network namespace is connected, if it is not the run's own */
  readonly share?: Attachment["share"];
}

/** Values of kernel settings as they were before the first network changed them, by path. */
export type SavedSettings = Readonly<Record<string, string>>;

/**
 * What a host remembers about its networks, per boot and shared by its agents. An attachment's record is written before
 * the kernel is asked, a draft from when the run has left, and removed after the kernel forgot; a network's is a draft
 * until the kernel has all of it.
 */
export class NetworkState {
  readonly lock: string;
  readonly #attachments: RecordDirectory<typeof Attachment>;
  readonly #networks: RecordDirectory<typeof MadeNetwork>;
  readonly #saved: string;

  constructor(runDir: string) {
    const directory = join(runDir, "network");
    this.lock = join(directory, "lock");
    this.#attachments = new RecordDirectory(join(directory, "attachments"), Attachment);
    this.#networks = new RecordDirectory(join(directory, "networks"), MadeNetwork);
    this.#saved = join(directory, "settings.json");
  }

  get attachments(): RecordDirectory<typeof Attachment> {
    return this.#attachments;
  }

  connected(): Attachment[] {
    return [...this.#attachments.all().values()];
  }

  /** Who is connected, and who has left but may still have rules, in one look: nobody is missed in between. */
  everyone(): { connected: Attachment[]; left: Attachment[] } {
    const { records, drafts } = this.#attachments.read();
    return {
      connected: [...records.values()],
      left: drafts.flatMap((link) => this.#attachments.draftOf(link) ?? []),
    };
  }

  get networks(): RecordDirectory<typeof MadeNetwork> {
    return this.#networks;
  }

  savedSettings(): SavedSettings {
    return (readJson(this.#saved) ?? {}) as SavedSettings;
  }

  saveSettings(settings: SavedSettings): void {
    if (Object.keys(settings).length === 0) {
      rmSync(this.#saved, { force: true });
      return;
    }
    const draft = `${this.#saved}.new`;
    writeFileSync(draft, JSON.stringify(settings), { mode: 0o600 });
    renameSync(draft, this.#saved);
  }
}
