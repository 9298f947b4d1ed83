import { subjects } from "@bulkhead/contracts";
import type { DoomedShare, OpenUse } from "@bulkhead/inventory";
import type { ControlPorts, Term } from "./ports.ts";

/** Asks hosts again for what they have not confirmed: shares to attach, to detach, to remove. */
export class ShareSettler {
  readonly #ports: ControlPorts;
  readonly #term: Term;

  constructor(ports: ControlPorts, term: Term) {
    this.#ports = ports;
    this.#term = term;
  }

  /** One question to each; who does not answer is asked in the next pass. */
  async pass(): Promise<void> {
    const { uses, doomed } = await this.#ports.store.shareWork();
    await Promise.all([...uses.map((use) => this.#apply(use)), ...doomed.map((share) => this.#remove(share))]);
  }

  async #apply({ instanceId, hostId, isolation }: OpenUse): Promise<void> {
    const { bus, store } = this.#ports;
    await this.#asking({ instanceId, hostId }, async () => {
      const applied = await bus.request(
        subjects.applyShares,
        { hostId, isolation },
        { instanceId: instanceId as never },
      );
      await store.recordShares(this.#term.term, { instanceId, applied });
    });
  }

  async #remove(share: DoomedShare): Promise<void> {
    const { bus, store } = this.#ports;
    const { id: shareId, hostId } = share;
    await this.#asking({ shareId, hostId }, async () => {
      await bus.request(subjects.removeShare, { hostId, isolation: "container" }, { shareId });
      await store.recordShareRemoved(this.#term.term, share);
    });
  }

  async #asking(fields: object, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (err) {
      this.#ports.log.debug({ err, ...fields }, "share not settled yet");
    }
  }
}
