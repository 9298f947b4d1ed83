import type { Inbound } from "@bulkhead/bus";
import { isFleetError, subjects, type ReportBatch } from "@bulkhead/contracts";
import { NotLeading, type FoldResult } from "@bulkhead/inventory";
import type { ControlPorts, Term } from "./ports.ts";
import { inTraces } from "./traces.ts";

/** What the folder's owner wants to hear. */
export interface FolderEvents {
  /** a batch is in the database, and all events that waited are published */
  folded(): void;
  /** targets whose operations may be finished now */
  touched(targets: readonly string[]): void;
  /** hosts have more room than before */
  freed(): void;
  failed(error: unknown): void;
}

/** True for failures that are not the batch's fault: it comes again and is folded then. */
const isPassing = (error: unknown): boolean =>
  error instanceof NotLeading || (isFleetError(error) && error.code === "DATABASE_UNAVAILABLE");

/** Folds what agents report into Postgres, batch by batch, and acknowledges what is in it. */
export class ReportFolder {
  readonly #ports: ControlPorts;
  readonly #term: Term;
  readonly #events: FolderEvents;

  constructor(parts: { ports: ControlPorts; term: Term; events: FolderEvents }) {
    this.#ports = parts.ports;
    this.#term = parts.term;
    this.#events = parts.events;
  }

  /** Folds messages of the reports stream. Rejects when they must come again. */
  async fold(messages: readonly Inbound<ReportBatch>[]): Promise<void> {
    const batches = messages.map((message) => message.body);
    try {
      await this.#fold(batches);
    } catch (err) {
      if (isPassing(err)) {
        this.#events.failed(err);
        throw err;
      }
      await this.#foldEach(batches, err);
    }
  }

  /** One agent's poison must not stop the others: what cannot be folded alone is left to its agent, and said. */
  async #foldEach(batches: readonly ReportBatch[], cause: unknown): Promise<void> {
    const { log } = this.#ports;
    if (batches.length === 1) {
      log.error({ err: cause, hostId: batches[0]?.hostId, reports: batches[0]?.reports.length }, "reports not folded");
      return;
    }
    for (const batch of batches) {
      try {
        await this.#fold([batch]);
      } catch (err) {
        if (isPassing(err)) throw err;
        log.error({ err, hostId: batch.hostId, reports: batch.reports.length }, "reports not folded");
      }
    }
  }

  async #fold(batches: readonly ReportBatch[]): Promise<void> {
    const { store, meters, log, onEvents } = this.#ports;
    const reports = batches.flatMap((batch) => batch.reports);
    const result = await inTraces(
      "scheduler.fold",
      {
        parents: reports.map(({ traceparent }) => traceparent),
        attributes: { "bulkhead.reports": reports.length },
      },
      () => store.foldReports(this.#term.term, batches),
    );
    // The events first: someone may be waiting for just this state.
    onEvents?.();
    this.#events.folded();
    this.#acknowledge(result);
    meters?.reportsFolded(result.folded);
    if (result.illegal > 0) log.warn({ reports: result.illegal }, "reports contradict the state of their instances");
    if (result.touched.length > 0) this.#events.touched(result.touched);
    if (result.freed) this.#events.freed();
  }

  #acknowledge({ acknowledgements }: FoldResult): void {
    for (const { hostId, isolation, journal, upToSeq } of acknowledgements) {
      if (journal !== "") this.#ports.bus.publish(subjects.reportAck, { hostId, isolation }, { journal, upToSeq });
    }
  }
}
