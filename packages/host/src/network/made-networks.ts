import type { AssignedNetwork } from "@bulkhead/contracts";
import { listTables, NativeError } from "@bulkhead/native-namespaces";
import { makeBridge, removeBridges, removeLinks } from "./links.ts";
import type { NetworkNames } from "./names.ts";
import type { PacketFilter } from "./packet-filter.ts";
import { configureBridge, enableForwarding, restoreSettings } from "./settings.ts";
import type { Attachment, MadeNetwork, NetworkState } from "./state.ts";

/** Names of all rule sets in the kernel; null where it has no nftables or does not let this process use it. */
const packetTables = async (): Promise<Set<string> | null> => {
  try {
    return new Set((await listTables()).map(({ name }) => name));
  } catch (error) {
    if (error instanceof NativeError) return null;
    throw error;
  }
};

/** Whether this host can have networks. */
export const hasPacketRules = async (): Promise<boolean> => (await packetTables()) !== null;

/** Each network once. */
const networksOf = (networks: readonly AssignedNetwork[]): AssignedNetwork[] => [
  ...new Map(networks.map((network) => [network.networkId, network])).values(),
];

const madeOf = ({ networkId, internal, ipv4, ipv6 }: AssignedNetwork): MadeNetwork => ({
  networkId,
  internal,
  gateways: [ipv4, ipv6].flatMap((each) => each?.gateway ?? []),
});

/** Networks that none of these uses: ids of all, and those that are more than drafts. */
export const unusedIn = (
  { records, drafts }: ReturnType<NetworkState["networks"]["read"]>,
  attachments: readonly Attachment[],
): { ids: string[]; onRecord: MadeNetwork[] } => {
  const used = new Set<string>(attachments.map(({ network }) => network.networkId));
  const onRecord = [...records.values()].filter(({ networkId }) => !used.has(networkId));
  return { ids: [...onRecord.map(({ networkId }) => networkId), ...drafts.filter((id) => !used.has(id))], onRecord };
};

interface Parts {
  readonly names: NetworkNames;
  readonly state: NetworkState;
  readonly filter: PacketFilter;
}

/** Bridges, rules and settings of one host, by networks. Everything here needs the host's lock. */
export class MadeNetworks {
  readonly #names: NetworkNames;
  readonly #state: NetworkState;
  readonly #filter: PacketFilter;

  constructor({ names, state, filter }: Parts) {
    this.#names = names;
    this.#state = state;
    this.#filter = filter;
  }

  /**
   * Makes networks that are not there, and changes rules from `removed` to `added` in the same transaction. A network is
   * on record when all of that is done.
   */
  async change(removed: readonly Attachment[], added: readonly Attachment[]): Promise<void> {
    const present = this.#state.networks.all();
    const missing = networksOf(added.map(({ network }) => network)).filter(({ networkId }) => !present.has(networkId));
    for (const network of missing) await this.#make(network);
    const networks = missing.map(madeOf);
    if (present.size > 0 || networks.length === 0) {
      await this.#filter.change({ removed: { attachments: removed }, added: { networks, attachments: added } });
    } else {
      await this.#filter.replace({ networks, attachments: added });
    }
    for (const { networkId } of networks) this.#state.networks.keep(networkId);
  }

  async #make(network: AssignedNetwork): Promise<void> {
    this.#state.networks.draft(network.networkId, madeOf(network));
    await enableForwarding(this.#state, { ipv6: network.ipv6 !== null });
    await configureBridge((await makeBridge(this.#names, network)).name);
  }

  /** Makes everything what it must be for these, whatever is there, and removes networks that nobody uses. */
  async settle(attachments: readonly Attachment[]): Promise<void> {
    if (attachments.length === 0) return await this.clear();
    const networks = networksOf(attachments.map(({ network }) => network));
    for (const network of networks) await this.#make(network);
    for (const { networkId } of unusedIn(this.#state.networks.read(), attachments).onRecord)
      this.#state.networks.retract(networkId);
    await this.#filter.replace({ networks: networks.map(madeOf), attachments });
    for (const { networkId } of networks) this.#state.networks.keep(networkId);
    await this.removeUnused(attachments);
  }

  async removeUnused(attachments: readonly Attachment[]): Promise<void> {
    if (attachments.length === 0) return await this.clear();
    const { ids, onRecord } = unusedIn(this.#state.networks.read(), attachments);
    for (const { networkId } of onRecord) this.#state.networks.retract(networkId);
    try {
      await this.#filter.change({ removed: { networks: onRecord } });
    } catch (error) {
      if (!(error instanceof NativeError)) throw error;
      // Something of it was not there: somebody else was at our rules.
      await this.#filter.replace({ networks: [...this.#state.networks.all().values()], attachments });
    }
    await removeBridges(this.#names, ids);
    for (const id of ids) this.#state.networks.remove(id);
  }

  /** Files last: until the kernel has forgotten everything, they say that there is something to forget. */
  async clear(): Promise<void> {
    for (const id of this.#state.networks.all().keys()) this.#state.networks.retract(id);
    if ((await packetTables())?.has(this.#names.table) === true) await this.#filter.remove();
    await removeLinks(this.#names);
    await restoreSettings(this.#state);
    this.#state.networks.clear();
  }
}
