import type { Assignment } from "@bulkhead/contracts";
import type { Connection, HostNetworks } from "@bulkhead/host";
import type { Descriptor } from "@bulkhead/native-namespaces";
import type { JailedProgram } from "@bulkhead/node";
import type { OpenNamespaces } from "./shares/namespace-holder.ts";
import { networkFailure } from "./start-failure.ts";

export interface InstanceNetworkParts {
  readonly networks: HostNetworks;
  readonly assignment: Assignment;
  /** the run's name among its instance's */
  readonly run: string;
  /** a program of ours, which gets a card instead of a link */
  readonly program: JailedProgram | undefined;
  /** a start that fails has no network again */
  readonly undo: AsyncDisposableStack;
}

/**
 * How one start gets its place in its network, if it has one: a link of its own network namespace or of its share's, or
 * a card's descriptor. Disposing closes ours; whoever runs has its own.
 */
export class InstanceNetwork implements Disposable {
  /** a link of its own namespace, which is there when its process is */
  readonly hasLink: boolean;
  readonly hasCard: boolean;
  readonly #parts: InstanceNetworkParts;
  readonly #connection: Connection | undefined;
  #card: Descriptor | undefined;

  constructor(parts: InstanceNetworkParts) {
    const { assignment, run, program } = parts;
    const { network, instanceId, spec, namespaces } = assignment;
    this.#parts = parts;
    const shared = namespaces?.namespaces.includes("network") === true;
    const share = shared ? { shareId: namespaces.shareId, name: namespaces.name } : undefined;
    this.#connection =
      network === undefined ? undefined : { instanceId, run, network, bandwidth: spec.bandwidth, share };
    this.hasLink = network !== undefined && program === undefined && !shared;
    this.hasCard = network !== undefined && program !== undefined;
  }

  /** What the program gets from 3 on. */
  get descriptors(): readonly number[] {
    return this.#card === undefined ? [] : [this.#card.number];
  }

  /** Makes what needs no process: a card, or the link of a share's namespace. Rejects StartFailure. */
  async prepare(shared: OpenNamespaces | undefined): Promise<void> {
    const connection = this.#connection;
    if (connection === undefined || this.hasLink) return;
    const path = shared?.pathOf("network");
    if (path !== undefined) return await this.#connect(path);
    this.#card = await this.#join(connection, () => this.#parts.networks.plug(connection));
  }

  /** Connects the network namespace of a process. Rejects StartFailure. */
  connect(pid: number): Promise<void> {
    return this.#connect(`/proc/${pid}/ns/net`);
  }

  async #connect(path: string): Promise<void> {
    const connection = this.#connection;
    if (connection !== undefined) await this.#join(connection, () => this.#parts.networks.connect(connection, path));
  }

  async #join<T>(connection: Connection, work: () => Promise<T>): Promise<T> {
    const { networks, undo } = this.#parts;
    const made = await work().catch((cause: unknown) => {
      throw networkFailure(cause);
    });
    undo.defer(() => networks.disconnect(connection));
    return made;
  }

  [Symbol.dispose](): void {
    this.#card?.[Symbol.dispose]();
  }
}
