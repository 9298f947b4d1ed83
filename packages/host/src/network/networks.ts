import type { InstanceId, Isolation } from "@bulkhead/contracts";
import { lockFile, NativeError, openNetworkSpace } from "@bulkhead/native-namespaces";
import { Group, type Waiting } from "./group.ts";
import { makeLinks, type InstanceLink } from "./links.ts";
import { MadeNetworks } from "./made-networks.ts";
import { networkNames, type NetworkNames } from "./names.ts";
import { PacketFilter } from "./packet-filter.ts";
import { holdPorts } from "./ports.ts";
import { NetworkState, type Attachment, type Connection, type MadeNetwork } from "./state.ts";

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

/** The networks of a host and everyone in them, of both agents. */
export interface NetworkView {
  readonly networks: readonly MadeNetwork[];
  readonly attachments: readonly Attachment[];
}

/**
 * How long a network outlives its last user, in milliseconds: most often the next one comes at once, and a bridge costs
 * 50 ms to remove.
 */
const lingerMs = 1_000;

const attachmentsOf = (joining: readonly Joining[]): Attachment[] => joining.map(({ attachment }) => attachment);

const keyOf = ({ instanceId, run }: ConnectedRun): string => `${instanceId}/${run}`;

/** What runs ask for: a place, or to be forgotten. */
type Request = { readonly wanted: Connection; readonly pid: number } | { readonly gone: ConnectedRun };

/** A run that joins, has its ports and is on record. */
interface Joining extends InstanceLink {
  readonly attachment: Attachment;
  readonly reject: (error: unknown) => void;
}

/**
 * The networks of one host: bridges, links, rules and settings. Every operation takes the per-host lock, may be repeated,
 * and works from what is on disk and in the kernel, so either agent may do it and neither needs the other. Whoever
 * connects or disconnects while others do is served with them: one lock, one transaction of rules, one call for links.
 */
export class HostNetworks implements AsyncDisposable {
  readonly #state: NetworkState;
  readonly #names: NetworkNames;
  readonly #filter: PacketFilter;
  readonly #made: MadeNetworks;
  readonly #isolation: Isolation;
  readonly #ports = new Map<string, DisposableStack>();
  readonly #watchers = new Set<(view: NetworkView) => void>();
  readonly #group = new Group<Request>({
    turn: (work) => this.#locked(work),
    serve: (requests) => this.#serve(requests),
  });
  #turn: Promise<unknown> = Promise.resolve();
  #linger: NodeJS.Timeout | undefined;

  constructor(options: HostNetworksOptions) {
    this.#state = new NetworkState(options.runDir);
    this.#names = networkNames(options.hash);
    this.#filter = new PacketFilter(this.#names);
    this.#made = new MadeNetworks({ names: this.#names, state: this.#state, filter: this.#filter });
    this.#isolation = options.isolation;
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
    return { networks: [...this.#state.networks.all().values()], attachments: this.#attachments() };
  }

  #attachments(): Attachment[] {
    return [...this.#state.attachments.all().values()];
  }

  /** After every change: whoever watches is told, and what nobody uses any more goes a little later. */
  #changed(): void {
    const view = this.view();
    for (const watcher of this.#watchers) watcher(view);
    if (this.#linger !== undefined || !this.#made.hasUnused(view.attachments)) return;
    this.#linger = setTimeout(() => void this.#removeUnused().catch(() => undefined), lingerMs).unref();
  }

  /** What fails here is done by the next change, or by the next agent. */
  #removeUnused(): Promise<void> {
    clearTimeout(this.#linger);
    this.#linger = undefined;
    return this.#locked(async () => {
      const attachments = this.#attachments();
      if (!this.#made.hasUnused(attachments)) return;
      await this.#made.removeUnused(attachments);
      this.#changed();
    });
  }

  /**
   * Connects the network namespace of a process. Rejects PORT_BUSY, or what the kernel refused, with everything undone.
   */
  connect(wanted: Connection, pid: number): Promise<void> {
    return this.#group.ask({ wanted, pid });
  }

  /** Forgets a run's place in its network. */
  disconnect(gone: ConnectedRun): Promise<void> {
    return this.#group.ask({ gone });
  }

  async #serve(requests: readonly Waiting<Request>[]): Promise<void> {
    const ended = new Set(requests.flatMap(({ request }) => ("gone" in request ? [keyOf(request.gone)] : [])));
    const gone = this.#attachments().filter((each) => ended.has(keyOf(each)));
    for (const { link } of gone) this.#letGo(link);
    using spaces = new DisposableStack();
    const joining = requests.flatMap((each) => this.#admit(each, spaces));
    try {
      await this.#link(await this.#rule(joining, gone));
    } catch (error) {
      for (const one of joining) this.#refuse(one, error);
      throw error;
    }
    for (const { link } of gone) this.#state.attachments.remove(link);
    this.#changed();
  }

  #admit({ request, reject }: Waiting<Request>, spaces: DisposableStack): Joining[] {
    if ("gone" in request) return [];
    const { instanceId, run, network, bandwidth } = request.wanted;
    const port = this.#names.newPort();
    try {
      using ports = holdPorts(network.ports);
      const space = spaces.use(openNetworkSpace(`/proc/${request.pid}/ns/net`)).number;
      const attachment = { link: port.name, index: port.index, isolation: this.#isolation, instanceId, run, network };
      this.#state.attachments.put(port.name, attachment);
      this.#ports.set(port.name, ports.move());
      return [{ attachment, port, network, bandwidth, space, reject }];
    } catch (error) {
      reject(error);
      return [];
    }
  }

  #refuse({ attachment, reject }: Joining, error: unknown): void {
    this.#letGo(attachment.link);
    this.#state.attachments.remove(attachment.link);
    reject(error);
  }

  /** Answers who has rules now. Those who leave lose theirs first, so that their addresses can be used again at once. */
  async #rule(joining: readonly Joining[], gone: readonly Attachment[]): Promise<readonly Joining[]> {
    try {
      await this.#made.change(gone, attachmentsOf(joining));
      return joining;
    } catch (error) {
      if (!(error instanceof NativeError)) throw error;
    }
    // One member undoes the whole transaction, or somebody else was at our rules. What stays is put right first, whatever
    // it was; then each joins alone.
    await this.#settleWithout([...gone, ...attachmentsOf(joining)]);
    const ruled: Joining[] = [];
    for (const one of joining) if (await this.#ruleAlone(one)) ruled.push(one);
    return ruled;
  }

  async #ruleAlone(one: Joining): Promise<boolean> {
    try {
      await this.#made.change([], [one.attachment]);
      return true;
    } catch (error) {
      if (!(error instanceof NativeError)) throw error;
      this.#refuse(one, error);
      return false;
    }
  }

  #settleWithout(gone: readonly Attachment[]): Promise<void> {
    const leaving = new Set(gone.map(({ link }) => link));
    return this.#made.settle(this.#attachments().filter(({ link }) => !leaving.has(link)));
  }

  /** A link that could not be made goes with its namespace: a run without its network does not start. */
  async #link(joining: readonly Joining[]): Promise<void> {
    const failures = await makeLinks(this.#names, joining);
    const failed = joining.filter((_, at) => failures[at] !== undefined);
    if (failed.length > 0) await this.#forget(attachmentsOf(failed));
    for (const [at, one] of joining.entries()) if (failures[at] !== undefined) this.#refuse(one, failures[at]);
  }

  /** Removes rules, also when somebody else has been at them. */
  async #forget(gone: readonly Attachment[]): Promise<void> {
    await this.#made.change(gone, []).catch((error: unknown) => {
      if (error instanceof NativeError) return this.#settleWithout(gone);
      throw error;
    });
  }

  /**
   * After a restart of the agent: forgets runs of its kind that are no more, and makes bridges, rules and settings what
   * they must be for the others. The rule set is replaced in one transaction; connections do not notice.
   */
  adopt(living: readonly ConnectedRun[]): Promise<void> {
    return this.#locked(async () => {
      const alive = new Set(living.map(keyOf));
      const all = this.#attachments();
      const gone = all.filter((each) => each.isolation === this.#isolation && !alive.has(keyOf(each)));
      await this.#settleWithout(gone);
      for (const { link } of gone) {
        this.#letGo(link);
        this.#state.attachments.remove(link);
      }
      if (gone.length === all.length) this.#state.attachments.clear();
      this.#holdAgain(this.#attachments());
      this.#changed();
    });
  }

  /**
   * Forgets everyone, of both agents, and removes whatever networks made on this host: rules, links, settings, files.
   * For a host that is given up: whoever still runs is left without a network.
   */
  end(): Promise<void> {
    return this.#locked(async () => {
      this.#letGoAll();
      await this.#made.clear();
      this.#state.attachments.clear();
      this.#changed();
    });
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

  #letGo(link: string): void {
    this.#ports.get(link)?.dispose();
    this.#ports.delete(link);
  }

  #letGoAll(): void {
    for (const link of this.#ports.keys()) this.#letGo(link);
  }

  /** Lets go of ports; networks stay as they are for the instances that run on, and those of nobody go now. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#linger !== undefined) await this.#removeUnused();
    this.#letGoAll();
    this.#filter[Symbol.dispose]();
  }
}
