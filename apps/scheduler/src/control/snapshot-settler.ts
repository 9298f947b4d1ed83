import { fleetError, isFleetError, subjects, toProblem, type ErrorCode, type FleetError } from "@bulkhead/contracts";
import { NotLeading, type OpenSnapshot } from "@bulkhead/inventory";
import type { ControlPorts, Term } from "./ports.ts";

/** How long a host may be silent about a snapshot that it is asked for, in milliseconds. */
const patienceMs = 600_000;
/** What says nothing of the snapshot: the same question may be answered later. */
const unanswered: ReadonlySet<ErrorCode> = new Set(["HOST_UNREACHABLE", "BUS_UNAVAILABLE", "OVERLOADED"]);

/** What a host answers of a snapshot from which nothing can begin any more. */
const unsound: ReadonlySet<ErrorCode> = new Set(["SNAPSHOT_CORRUPT", "NOT_FOUND"]);

interface Question<Answer> {
  readonly answer: Promise<Answer>;
  /** what is so when no answer ever comes */
  readonly outcome: string;
}

interface Refusal {
  readonly refusal: FleetError;
}

const contextOf = ({ traceId }: OpenSnapshot): { traceId?: string } => (traceId === null ? {} : { traceId });

/** Has hosts take, verify and remove snapshots. Memory takes a while to write, so nothing else waits for an answer. */
export class SnapshotSettler {
  readonly #ports: ControlPorts;
  readonly #term: Term;
  readonly #onNotLeading: (error: NotLeading) => void;
  readonly #asked = new Set<string>();
  /** when the host of each was last heard about it, or first asked by this leader */
  readonly #heardMs = new Map<string, number>();

  constructor(ports: ControlPorts, term: Term, onNotLeading: (error: NotLeading) => void) {
    this.#ports = ports;
    this.#term = term;
    this.#onNotLeading = onNotLeading;
  }

  /** Asks for all that is open and was not asked for yet. */
  async pass(): Promise<void> {
    const { wanted, doubted, doomed } = await this.#ports.store.snapshotWork();
    const open = new Set<string>([...wanted, ...doubted].map(({ operationId }) => operationId));
    for (const id of this.#heardMs.keys()) if (!open.has(id)) this.#heardMs.delete(id);
    for (const id of open) if (!this.#heardMs.has(id)) this.#heardMs.set(id, this.#ports.nowMs());
    for (const snapshot of wanted) this.#once(snapshot, () => this.#take(snapshot));
    for (const snapshot of doubted) this.#once(snapshot, () => this.#verify(snapshot));
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

  /** What a host answers, or why it does not do it. */
  async #answer<Answer>(snapshot: OpenSnapshot, { answer, outcome }: Question<Answer>): Promise<Answer | Refusal> {
    try {
      return await answer;
    } catch (error) {
      return { refusal: await this.#refusal(snapshot, error, outcome) };
    }
  }

  /**
   * What a host says of why not. Throws what is no answer, as long as one may come: a host that works says so whenever it
   * is asked, however long that takes, and one that is silent is given up.
   */
  async #refusal(snapshot: OpenSnapshot, error: unknown, outcome: string): Promise<FleetError> {
    const { store, nowMs } = this.#ports;
    const { operationId } = snapshot;
    if (isFleetError(error) && error.code === "SNAPSHOT_UNDER_WAY") {
      this.#heardMs.set(operationId, nowMs());
      await store.recordSnapshotProgress(this.#term.term, { snapshot, progress: error.message });
      throw error;
    }
    if (isFleetError(error) && !unanswered.has(error.code)) return error;
    if (nowMs() - (this.#heardMs.get(operationId) ?? nowMs()) < patienceMs) throw error;
    return fleetError("HOST_UNREACHABLE", `Its host did not answer for ten minutes; ${outcome}.`, { cause: error });
  }

  // What cannot be written down is asked for again: a host that has taken it says so again.
  async #take(snapshot: OpenSnapshot): Promise<void> {
    const { bus, store, onEvents } = this.#ports;
    const { id: snapshotId, instanceId, hostId } = snapshot;
    const { term } = this.#term;
    const told = await this.#answer(snapshot, {
      answer: bus.request(subjects.takeSnapshot, { hostId, isolation: "vm" }, { instanceId, snapshotId }),
      outcome: "nothing was taken",
    });
    if ("refusal" in told) {
      const error = toProblem(told.refusal, contextOf(snapshot));
      await store.recordSnapshotFailed(term, { snapshot, error });
    } else await store.recordSnapshotTaken(term, { snapshot, taken: told });
    onEvents?.();
  }

  async #verify(snapshot: OpenSnapshot): Promise<void> {
    const { bus, store, onEvents } = this.#ports;
    const { id: snapshotId, hostId } = snapshot;
    const { term } = this.#term;
    const told = await this.#answer(snapshot, {
      answer: bus.request(subjects.verifySnapshot, { hostId, isolation: "vm" }, { snapshotId }),
      outcome: "nothing is known of its files",
    });
    if ("refusal" in told) {
      const error = toProblem(told.refusal, contextOf(snapshot));
      await store.recordSnapshotVerified(term, { snapshot, error, unsound: unsound.has(told.refusal.code) });
    } else await store.recordSnapshotVerified(term, { snapshot, error: null, unsound: false });
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
