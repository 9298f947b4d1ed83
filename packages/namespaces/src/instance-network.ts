import type { Assignment } from "@bulkhead/contracts";
import type { Connection, HostNetworks } from "@bulkhead/host";
import type { Descriptor } from "@bulkhead/native-namespaces";
import type { JailedProgram } from "@bulkhead/node";
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
 * How one start gets its place in its network, if it has one: a link of its own network namespace, or a card's
 * descriptor. Disposing closes ours; whoever runs has its own.
 */
export class InstanceNetwork implements Disposable {
  readonly hasLink: boolean;
  readonly hasCard: boolean;
  readonly #parts: InstanceNetworkParts;
  readonly #connection: Connection | undefined;
  #card: Descriptor | undefined;

  constructor(parts: InstanceNetworkParts) {
    const { assignment, run, program } = parts;
    const { network, instanceId, spec } = assignment;
    this.#parts = parts;
    this.#connection = network === undefined ? undefined : { instanceId, run, network, bandwidth: spec.bandwidth };
    this.hasLink = network !== undefined && program === undefined;
    this.hasCard = network !== undefined && program !== undefined;
  }

  /** What the program gets from 3 on. */
  get descriptors(): readonly number[] {
    return this.#card === undefined ? [] : [this.#card.number];
  }

  /** Makes the card, where there is to be one. Rejects StartFailure. */
  async plug(): Promise<void> {
    const connection = this.#connection;
    if (!this.hasCard || connection === undefined) return;
    this.#card = await this.#join(connection, () => this.#parts.networks.plug(connection));
  }

  /** Connects the network namespace of a process. Rejects StartFailure. */
  async connect(pid: number): Promise<void> {
    const connection = this.#connection;
    if (connection !== undefined) await this.#join(connection, () => this.#parts.networks.connect(connection, pid));
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
