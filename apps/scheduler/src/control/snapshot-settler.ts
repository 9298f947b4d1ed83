import { fleetError, isFleetError, subjects, toProblem, type ErrorCode } from "@bulkhead/contracts";
import { NotLeading, type OpenSnapshot } from "@bulkhead/inventory";
import type { ControlPorts, Term } from "./ports.ts";

/** How long a host that does not answer is asked for a snapshot, in milliseconds. */
const patienceMs = 600_000;
/** What says nothing of the snapshot: the same question may be answered later. */
const unanswered: ReadonlySet<ErrorCode> = new Set(["HOST_UNREACHABLE", "BUS_UNAVAILABLE", "OVERLOADED"]);

/** Has hosts take and remove snapshots. Memory takes a while to write, so nothing else waits for an answer. */
export class SnapshotSettler {
  readonly #ports: ControlPorts;
  readonly #term: Term;
  readonly #onNotLeading: (error: NotLeading) => void;
  readonly #asked = new Set<string>();

  constructor(ports: ControlPorts, term: Term, onNotLeading: (error: NotLeading) => void) {
    this.#ports = ports;
    this.#term = term;
    this.#onNotLeading = onNotLeading;
  }

  /** Asks for all that is open and was not asked for yet. */
  async pass(): Promise<void> {
    const { wanted, doomed } = await this.#ports.store.snapshotWork();
    for (const snapshot of wanted) this.#once(snapshot, () => this.#take(snapshot));
    for (const snapshot of doomed) this.#once(snapshot, () => this.#remove(snapshot));
  }

  #once({ id, hostId }: OpenSnapshot, work: () => Promise<void>): void {
    if (this.#asked.has(id)) return;
    this.#asked.add(id);
    void work()
      .catch((err: unknown) => {
        if (err instanceof NotLeading) this.#onNotLeading(err);
        else this.#ports.log.debug({ err, snapshotId: id, hostId }, "snapshot not settled yet");
      })
      .finally(() => this.#asked.delete(id));
  }

  async #take(snapshot: OpenSnapshot): Promise<void> {
    const { bus, store, onEvents } = this.#ports;
    const { id: snapshotId, instanceId, hostId } = snapshot;
    const { term } = this.#term;
    try {
      const taken = await bus.request(subjects.takeSnapshot, { hostId, isolation: "vm" }, { instanceId, snapshotId });
      await store.recordSnapshotTaken(term, { snapshot, taken });
    } catch (error) {
      const answered = isFleetError(error) && !unanswered.has(error.code);
      if (!answered && (error instanceof NotLeading || snapshot.ageMs < patienceMs)) throw error;
      const why = answered
        ? error
        : fleetError("HOST_UNREACHABLE", "Its host did not answer for ten minutes; nothing was taken.", {
            cause: error,
          });
      const context = snapshot.traceId === null ? {} : { traceId: snapshot.traceId };
      await store.recordSnapshotFailed(term, { snapshot, error: toProblem(why, context) });
    }
    onEvents?.();
  }

  async #remove(snapshot: OpenSnapshot): Promise<void> {
    const { bus, store, onEvents } = this.#ports;
    const { id: snapshotId, hostId } = snapshot;
    await bus.request(subjects.removeSnapshot, { hostId, isolation: "vm" }, { snapshotId });
    await store.recordSnapshotRemoved(this.#term.term, snapshot);
    onEvents?.();
  }
}
