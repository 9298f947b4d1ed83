import type { AssignedNetwork, InstanceId, Isolation } from "@bulkhead/contracts";
import {
  applyRules,
  listTables,
  lockFile,
  NativeError,
  openNetworkSpace,
  type RuleOperation,
} from "@bulkhead/native-namespaces";
import { makeBridge, makeLink, removeLink, removeLinks } from "./links.ts";
import { networkNames, type NetworkNames } from "./names.ts";
import { holdPorts } from "./ports.ts";
import { bridgeElements, instanceElements } from "./elements.ts";
import { noRules, ruleSet } from "./rules.ts";
import { configureBridge, enableForwarding, restoreSettings } from "./settings.ts";
import { NetworkState, type Attachment, type Connection } from "./state.ts";

export interface HostNetworksOptions {
  /** 8 hex digits of this host */
  readonly hash: string;
  /** per-boot directory of the host */
  readonly runDir: string;
  readonly isolation: Isolation;
}

/** Names a run: two runs of one instance never share a link. */
export interface ConnectedRun {
  readonly instanceId: InstanceId;
  readonly run: string;
}

const sameRun = (a: ConnectedRun, b: ConnectedRun): boolean => a.instanceId === b.instanceId && a.run === b.run;

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
const networksOf = (attachments: readonly Attachment[]): AssignedNetwork[] => [
  ...new Map(attachments.map(({ network }) => [network.networkId, network])).values(),
];

/**
 * The networks of one host: bridges, links, rules and settings. Every operation takes the per-host lock, may be repeated,
 * and works from what is on disk and in the kernel, so either agent may do it and neither needs the other.
 */
export class HostNetworks implements Disposable {
  readonly #state: NetworkState;
  readonly #names: NetworkNames;
  readonly #isolation: Isolation;
  readonly #ports = new Map<string, DisposableStack>();
  readonly #watchers = new Set<(attachments: readonly Attachment[]) => void>();
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(options: HostNetworksOptions, state: NetworkState) {
    this.#state = state;
    this.#names = networkNames(options.hash);
    this.#isolation = options.isolation;
  }

  static async open(options: HostNetworksOptions): Promise<HostNetworks> {
    return new HostNetworks(options, await NetworkState.open(options.runDir));
  }

  /** One at a time in this process, then on this host: at most one thread of the pool ever waits for the lock. */
  #locked<T>(work: () => Promise<T>): Promise<T> {
    const next = this.#turn.then(async () => {
      using _lock = await lockFile(this.#state.lock);
      return await work();
    });
    this.#turn = next.catch(() => undefined);
    return next;
  }

  /** Calls back with everyone connected on this host, now and after each change by this agent. */
  async watch(watcher: (attachments: readonly Attachment[]) => void): Promise<void> {
    this.#watchers.add(watcher);
    watcher(await this.#state.attachments());
  }

  /** Everyone connected on this host, by either agent. */
  attachments(): Promise<Attachment[]> {
    return this.#state.attachments();
  }

  #tell(attachments: readonly Attachment[]): void {
    for (const watcher of this.#watchers) watcher(attachments);
  }

  /**
   * Connects the network namespace of a process. Rejects PORT_BUSY, or what the kernel refused, with everything undone.
   */
  connect(wanted: Connection, pid: number): Promise<void> {
    return this.#locked(() => this.#connect(wanted, pid));
  }

  async #connect({ instanceId, run, network, bandwidth }: Connection, pid: number): Promise<void> {
    await using undo = new AsyncDisposableStack();
    const ports = holdPorts(network.ports);
    undo.defer(() => ports.dispose());
    using space = openNetworkSpace(`/proc/${pid}/ns/net`);
    const before = await this.#state.attachments();
    const port = this.#names.newPort();
    const attachment: Attachment = {
      link: port.name,
      index: port.index,
      isolation: this.#isolation,
      instanceId,
      run,
      network,
    };
    undo.defer(() => this.#forget([attachment]));
    await this.#state.put(attachment);
    const bridge = this.#names.bridge(network.networkId);
    const isNew = !before.some((other) => other.network.networkId === network.networkId);
    if (isNew) await this.#prepare(network);
    await applyRules([
      ...(before.length === 0 ? ruleSet(this.#names) : []),
      ...(isNew ? this.#bridgeElements("element.add", network.networkId, network.internal) : []),
      ...instanceElements(this.#names, "element.add", { link: port.name, network }),
    ]);
    await makeLink({ names: this.#names, port, bridge, network, bandwidth, space: space.number });
    this.#ports.set(port.name, ports);
    undo.move();
    this.#tell([...before, attachment]);
  }

  async #prepare(network: AssignedNetwork): Promise<void> {
    await enableForwarding(this.#state, { ipv6: network.ipv6 !== null });
    await configureBridge((await makeBridge(this.#names, network)).name);
  }

  /** Forgets a run's place in its network, and the network with its last user. */
  disconnect(run: ConnectedRun): Promise<void> {
    return this.#locked(async () => {
      const mine = (await this.#state.attachments()).filter((each) => sameRun(each, run));
      if (mine.length > 0) await this.#forget(mine);
    });
  }

  /** Undoes attachments; rules first, so that an address can never be used by whoever gets it next. */
  async #forget(gone: readonly Attachment[]): Promise<void> {
    const leaving = new Set(gone.map(({ link }) => link));
    const left = (await this.#state.attachments()).filter(({ link }) => !leaving.has(link));
    await this.#removeRules(gone, left);
    for (const { link } of gone) {
      this.#ports.get(link)?.dispose();
      this.#ports.delete(link);
    }
    if (left.length === 0) {
      await removeLinks(this.#names);
      await restoreSettings(this.#state);
    } else {
      const used = new Set(left.map(({ network }) => network.networkId));
      for (const { networkId } of networksOf(gone)) {
        if (!used.has(networkId)) await removeLink(this.#names.bridge(networkId).index);
      }
    }
    for (const { link } of gone) await this.#state.remove(link);
    this.#tell(left);
  }

  async #removeRules(gone: readonly Attachment[], left: readonly Attachment[]): Promise<void> {
    if (left.length === 0) return await this.#applyAll(left);
    const used = new Set(left.map(({ network }) => network.networkId));
    try {
      await applyRules([
        ...networksOf(gone)
          .filter(({ networkId }) => !used.has(networkId))
          .flatMap(({ networkId, internal }) => this.#bridgeElements("element.delete", networkId, internal)),
        ...gone.flatMap(({ link, network }) => instanceElements(this.#names, "element.delete", { link, network })),
      ]);
    } catch (error) {
      if (!(error instanceof NativeError)) throw error;
      // Something of it was not there: a start that failed half-way, or somebody flushed our table.
      await this.#applyAll(left);
    }
  }

  #bridgeElements(op: "element.add" | "element.delete", networkId: string, internal: boolean): RuleOperation[] {
    return bridgeElements(this.#names, op, { bridge: this.#names.bridge(networkId).name, internal });
  }

  /** The whole rule set for exactly these, in one transaction. */
  async #applyAll(attachments: readonly Attachment[]): Promise<void> {
    if (attachments.length === 0) return await applyRules(noRules(this.#names));
    await applyRules([
      ...ruleSet(this.#names),
      ...networksOf(attachments).flatMap(({ networkId, internal }) =>
        this.#bridgeElements("element.add", networkId, internal),
      ),
      ...attachments.flatMap(({ link, network }) => instanceElements(this.#names, "element.add", { link, network })),
    ]);
  }

  /**
   * After a restart of the agent: forgets runs of its kind that are no more, and makes bridges, rules and settings what
   * they must be for the others. The rule set is replaced in one transaction; connections do not notice.
   */
  adopt(living: readonly ConnectedRun[]): Promise<void> {
    return this.#locked(async () => {
      const all = await this.#state.attachments();
      const gone = all.filter(
        (each) => each.isolation === this.#isolation && !living.some((run) => sameRun(run, each)),
      );
      const left = all.filter((each) => !gone.includes(each));
      if (all.length === 0) return await this.#clear();
      if (gone.length > 0) await this.#forget(gone);
      if (left.length === 0) return;
      for (const network of networksOf(left)) await this.#prepare(network);
      await this.#applyAll(left);
      this.#holdAgain(left);
      this.#tell(left);
    });
  }

  /**
   * Forgets everyone, of both agents, and removes whatever networks made on this host: rules, links, settings, files.
   * For a host that is given up: whoever still runs is left without a network.
   */
  end(): Promise<void> {
    return this.#locked(async () => {
      this.#letGo();
      await this.#clear();
      this.#tell([]);
    });
  }

  /** Files last: until the kernel has forgotten everything, they say that there is something to forget. */
  async #clear(): Promise<void> {
    if ((await packetTables())?.has(this.#names.table) === true) await applyRules(noRules(this.#names));
    await removeLinks(this.#names);
    await restoreSettings(this.#state);
    await this.#state.clear();
  }

  #holdAgain(attachments: readonly Attachment[]): void {
    for (const { link, isolation, network } of attachments) {
      if (isolation !== this.#isolation || this.#ports.has(link)) continue;
      try {
        this.#ports.set(link, holdPorts(network.ports));
      } catch {
        // Somebody took the port while no agent held it. The rule still wins, and the instance runs on.
      }
    }
  }

  #letGo(): void {
    for (const held of this.#ports.values()) held.dispose();
    this.#ports.clear();
  }

  /** Lets go of ports; networks stay as they are for the instances that run on. */
  [Symbol.dispose](): void {
    this.#letGo();
  }
}
