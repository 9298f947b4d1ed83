import type { Isolation } from "@bulkhead/contracts";
import { lockFile, NativeError, openNetworkSpace, openTap, type Descriptor } from "@bulkhead/native-namespaces";
import { Group, type Waiting } from "./group.ts";
import { Joiners, type Joining, type Request } from "./joining.ts";
import { makeLinks, plugTap, removePorts, type InstanceLink } from "./links.ts";
import { MadeNetworks, unusedIn } from "./made-networks.ts";
import { networkNames, type NetworkNames } from "./names.ts";
import { PacketFilter } from "./packet-filter.ts";
import { HeldPorts } from "./ports.ts";
import { NetworkState, type Attachment, type ConnectedRun, type Connection, type NetworkView } from "./state.ts";

export interface HostNetworksOptions {
  /** 8 hex digits of this host */
  readonly hash: string;
  /** per-boot directory of the host */
  readonly runDir: string;
  readonly isolation: Isolation;
}

/**
 * How long a network outlives its last user, in milliseconds: most often the next one comes at once, and a bridge costs
 * 50 ms to remove.
 */
const lingerMs = 1_000;

/**
 * How long the rules of a run that has ended stay at most, in milliseconds: until the next change of anybody's, with
 * which they go in one transaction.
 */
const leaveMs = 10;

const keyOf = ({ instanceId, run }: ConnectedRun): string => `${instanceId}/${run}`;

/**
 * The networks of one host: bridges, links, rules and settings. Every operation takes the per-host lock, may be repeated,
 * and works from what is on disk and in the kernel, so either agent may do it and neither needs the other. Whoever
 * connects or disconnects while others do is served with them: one lock and one transaction of rules, one call for links.
 */
export class HostNetworks implements AsyncDisposable {
  readonly #state: NetworkState;
  readonly #names: NetworkNames;
  readonly #filter: PacketFilter;
  readonly #made: MadeNetworks;
  readonly #isolation: Isolation;
  readonly #ports = new HeldPorts();
  readonly #joiners: Joiners;
  readonly #watchers = new Set<(view: NetworkView) => void>();
  readonly #places = new Group<Request>((requests) => this.#locked(() => this.#serve(requests)));
  readonly #links = new Group<InstanceLink>((requests) => this.#link(requests));
  #turn: Promise<unknown> = Promise.resolve();
  #linger: NodeJS.Timeout | undefined;
  #leaving: NodeJS.Timeout | undefined;

  constructor(options: HostNetworksOptions) {
    this.#state = new NetworkState(options.runDir);
    this.#names = networkNames(options.hash);
    this.#filter = new PacketFilter(this.#names);
    this.#made = new MadeNetworks({ names: this.#names, state: this.#state, filter: this.#filter });
    this.#isolation = options.isolation;
    this.#joiners = new Joiners(this.#state, this.#ports);
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
  watch(watcher: (view: NetworkView) => void): void {
    this.#watchers.add(watcher);
    watcher(this.view());
  }

  view(): NetworkView {
    return { networks: [...this.#state.networks.all().values()], attachments: this.#state.connected() };
  }

  /** After every change: whoever watches is told, and what nobody uses any more goes a little later. */
  #changed(): void {
    const attachments = this.#state.connected();
    const made = this.#state.networks.read();
    const view = { networks: [...made.records.values()], attachments };
    for (const watcher of this.#watchers) watcher(view);
    if (this.#linger !== undefined || unusedIn(made, attachments).ids.length === 0) return;
    this.#linger = setTimeout(() => void this.#removeUnused().catch(() => undefined), lingerMs).unref();
  }

  /** What fails here is done by the next change, or by the next agent. */
  #removeUnused(): Promise<void> {
    clearTimeout(this.#linger);
    this.#linger = undefined;
    return this.#locked(async () => {
      const attachments = this.#state.connected();
      if (unusedIn(this.#state.networks.read(), attachments).ids.length === 0) return;
      await this.#made.removeUnused(attachments);
      this.#changed();
    });
  }

  /**
   * Connects a network namespace, by its path: first its place, with record and rules, then its link, which needs no
   * lock. Rejects PORT_BUSY, STATE_CONFLICT for a share's that another run has connected, or what the kernel refused,
   * with everything undone.
   */
  async connect({ instanceId, run, network, bandwidth, share }: Connection, path: string): Promise<void> {
    using space = openNetworkSpace(path);
    const port = this.#names.newPort();
    const place = { link: port.name, index: port.index, isolation: this.#isolation, instanceId, run, network };
    await this.#places.ask({ attachment: share === undefined ? place : { ...place, share } });
    try {
      await this.#links.ask({ port, network, bandwidth, space: space.number });
    } catch (error) {
      // Half a link goes with its namespace, or as this does: a run without its network does not start.
      await this.disconnect({ instanceId, run });
      throw error;
    }
  }

  /**
   * Gives a run a network card: a tap device that is a port of its network, and is there for as long as somebody has the
   * descriptor. Rejects as `connect`, with everything undone.
   */
  async plug({ instanceId, run, network, bandwidth }: Connection): Promise<Descriptor> {
    const port = this.#names.newPort();
    const tap = { egressBitsPerSec: bandwidth?.egressBitsPerSec ?? null };
    const place = { link: port.name, index: port.index, isolation: this.#isolation, instanceId, run, network, tap };
    await this.#places.ask({ attachment: place });
    try {
      using made = new DisposableStack();
      const card = made.use(openTap(port));
      await plugTap(this.#names, { port, network, bandwidth });
      made.move();
      return card;
    } catch (error) {
      await this.disconnect({ instanceId, run });
      throw error;
    }
  }

  /** Forgets a run's place in its network; done when it resolves. */
  disconnect(gone: ConnectedRun): Promise<void> {
    return this.#places.ask({ gone });
  }

  /**
   * The same a moment later, for a run that nobody waits for. Its record is a draft from now on, so whoever of the
   * host's agents changes anything before removes its rules first: its address and ports can be used at once.
   */
  leave(gone: ConnectedRun): void {
    const key = keyOf(gone);
    for (const attachment of this.#state.connected()) {
      if (keyOf(attachment) !== key) continue;
      this.#ports.letGo(attachment.link);
      this.#state.attachments.retract(attachment.link);
    }
    this.#leaving ??= setTimeout(() => void this.settled().catch(() => undefined), leaveMs).unref();
  }

  /** Resolves when nothing is left of those who have left. What fails here is done by the next change. */
  async settled(): Promise<void> {
    await (this.#leaving === undefined ? this.#turn : this.#places.ask(null));
  }

  async #link(requests: readonly Waiting<InstanceLink>[]): Promise<void> {
    const failures = await makeLinks(
      this.#names,
      requests.map(({ request }) => request),
    );
    for (const [at, { reject }] of requests.entries()) if (failures[at] !== undefined) reject(failures[at]);
  }

  async #serve(requests: readonly Waiting<Request>[]): Promise<void> {
    clearTimeout(this.#leaving);
    this.#leaving = undefined;
    const ended = new Set(
      requests.flatMap(({ request }) => (request !== null && "gone" in request ? [keyOf(request.gone)] : [])),
    );
    const { connected, left } = this.#state.everyone();
    const { leaving = [], staying = [] } = Object.groupBy(connected, (each) =>
      ended.has(keyOf(each)) ? "leaving" : "staying",
    );
    const gone = [...left, ...leaving];
    for (const { link } of gone) this.#ports.letGo(link);
    const joining = this.#joiners.admit(requests, staying);
    try {
      await this.#rule(joining, gone);
    } catch (error) {
      for (const one of joining) this.#joiners.refuse(one, error);
      throw error;
    }
    await this.#forget(gone);
    this.#changed();
  }

  /** Records last: until the kernel has forgotten everything, they say that there is something to forget. */
  async #forget(gone: readonly Attachment[]): Promise<void> {
    const ports = gone.flatMap(({ tap, share, index }) => (tap === undefined && share === undefined ? [] : [index]));
    if (ports.length > 0) await removePorts(ports);
    for (const { link } of gone) {
      this.#ports.letGo(link);
      this.#state.attachments.remove(link);
    }
  }

  /** Those who leave lose their rules first, so that their addresses can be used again at once. */
  async #rule(joining: readonly Joining[], gone: readonly Attachment[]): Promise<void> {
    const added = joining.map(({ attachment }) => attachment);
    try {
      return await this.#made.change(gone, added);
    } catch (error) {
      if (!(error instanceof NativeError)) throw error;
    }
    // One member undoes the whole transaction, or somebody else was at our rules. What stays is put right first, whatever
    // it was; then each joins alone.
    await this.#settleWithout([...gone, ...added]);
    for (const one of joining) await this.#ruleAlone(one);
  }

  async #ruleAlone(one: Joining): Promise<void> {
    try {
      await this.#made.change([], [one.attachment]);
    } catch (error) {
      if (!(error instanceof NativeError)) throw error;
      this.#joiners.refuse(one, error);
    }
  }

  #settleWithout(gone: readonly Attachment[]): Promise<void> {
    const leaving = new Set(gone.map(({ link }) => link));
    return this.#made.settle(this.#state.connected().filter(({ link }) => !leaving.has(link)));
  }

  /**
   * After a restart of the agent: forgets runs of its kind that are no more, and makes bridges, rules and settings what
   * they must be for the others. The rule set is replaced in one transaction; connections do not notice.
   */
  adopt(living: readonly ConnectedRun[]): Promise<void> {
    return this.#locked(async () => {
      const alive = new Set(living.map(keyOf));
      const { connected: all, left } = this.#state.everyone();
      const gone = all.filter((each) => each.isolation === this.#isolation && !alive.has(keyOf(each)));
      await this.#settleWithout(gone);
      await this.#forget([...gone, ...left]);
      if (gone.length === all.length) this.#state.attachments.clear();
      const ours = this.#state.connected().filter(({ isolation }) => isolation === this.#isolation);
      for (const { link, network } of ours) this.#ports.holdAgain(link, network.ports);
      this.#changed();
    });
  }

  /**
   * Forgets everyone, of both agents, and removes whatever networks made on this host: rules, links, settings, files.
   * For a host that is given up: whoever still runs is left without a network.
   */
  end(): Promise<void> {
    return this.#locked(async () => {
      this.#ports.letGoAll();
      await this.#made.clear();
      this.#state.attachments.clear();
      this.#changed();
    });
  }

  /** Lets go of ports; networks stay as they are for the instances that run on, and those of nobody go now. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.settled();
    if (this.#linger !== undefined) await this.#removeUnused();
    this.#ports.letGoAll();
    this.#filter[Symbol.dispose]();
  }
}
