import type { JoinHost } from "@bulkhead/contracts";
import { plan, type PlacementRequest, type Plan } from "@bulkhead/placement";
import { Leadership } from "./leadership.ts";
import { Office } from "./office.ts";
import { defaultTimes, type ControlPorts, type ControlTimes, type Term } from "./ports.ts";

/**
 * The control side of a scheduler. Every scheduler has one; the one that holds the lease places, delivers, folds and
 * watches, the others wait. An outage of the database or the bus makes it wait and heal, never end.
 */
export class ControlLoop {
  readonly #ports: ControlPorts;
  readonly #times: ControlTimes;
  readonly #holder: string | undefined;
  #leadership: Leadership | undefined;
  #office: Office | undefined;

  constructor(ports: ControlPorts, options: { times?: Partial<ControlTimes>; holder?: string } = {}) {
    this.#ports = ports;
    this.#times = { ...defaultTimes, ...options.times };
    this.#holder = options.holder;
  }

  /** Begins to try for the lease; returns at once. */
  start(): void {
    this.#leadership ??= new Leadership(
      {
        ports: this.#ports,
        times: this.#times,
        begin: (term) => this.#begin(term),
        end: () => this.#end(),
      },
      this.#holder,
    );
  }

  /** Finishes what is under way and gives the lease back, so that another scheduler goes on at once. */
  async stop(): Promise<void> {
    await this.#leadership?.stop();
    this.#leadership = undefined;
  }

  /** True while this scheduler leads. */
  get leads(): boolean {
    return this.#leadership?.leads ?? false;
  }

  /**
   * Something was written that placement, the relay or the event folder should see now, and that may finish operations
   * of `targets`.
   */
  wake(targets?: readonly string[]): void {
    this.#office?.wake(targets);
  }

  /** Where instances would go, on the fleet as it is; decides nothing. Rejects DATABASE_UNAVAILABLE. */
  async preview(requests: readonly PlacementRequest[]): Promise<Plan> {
    return plan({ hosts: await this.#ports.store.readHosts() }, requests);
  }

  /** Records a host and its agent. Rejects NAME_TAKEN, DATABASE_UNAVAILABLE. */
  async join(host: JoinHost): Promise<{ clusterId: string }> {
    await this.#ports.store.joinHost(host);
    const { clusterId } = await this.#ports.store.cluster();
    this.wake();
    return { clusterId };
  }

  async #begin(term: Term): Promise<void> {
    const office = await Office.begin({
      ports: this.#ports,
      times: this.#times,
      term,
      onNotLeading: () => this.#leadership?.lost(),
    });
    // Deposed while it was being made.
    if (!term.valid()) return office.stop();
    this.#office = office;
  }

  async #end(): Promise<void> {
    const office = this.#office;
    this.#office = undefined;
    await office?.stop();
  }
}
