import type { Inbound } from "@bulkhead/bus";
import { subjects, type ReportBatch } from "@bulkhead/contracts";
import { isRefusedValue, type Acknowledgement } from "@bulkhead/inventory";
import { isPassing } from "./passing.ts";
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
    if ((await this.#tried(batches)) === undefined) return;
    // One agent's poison must not stop the others.
    for (const batch of batches) {
      const err = await this.#tried([batch]);
      if (err !== undefined) await this.#foldParts(batch, err);
    }
  }

  /** What the batches cannot be folded for, by a fault of their own or of ours. Rejects when they must come again. */
  async #tried(batches: readonly ReportBatch[]): Promise<unknown> {
    try {
      await this.#fold(batches);
      return undefined;
    } catch (err) {
      if (!isPassing(err)) return err;
      this.#events.failed(err);
      throw err;
    }
  }

  /**
   * Folds by halves what cannot be folded whole, so that one report holds up no other. One that the database will never
   * take is said and passed over; one that a fault of ours stops waits with its agent, and what comes after it as well.
   * Resolves to whether the agent's reports may go on.
   */
  async #foldParts(batch: ReportBatch, cause: unknown): Promise<boolean> {
    const { reports } = batch;
    if (reports.length === 1) return this.#passOver(batch, cause);
    const middle = Math.ceil(reports.length / 2);
    for (const half of [reports.slice(0, middle), reports.slice(middle)]) {
      const part = { ...batch, reports: half };
      const err = await this.#tried([part]);
      if (err !== undefined && !(await this.#foldParts(part, err))) return false;
    }
    return true;
  }

  async #passOver(batch: ReportBatch, err: unknown): Promise<boolean> {
    const { log, store } = this.#ports;
    const [report] = batch.reports;
    const about = { err, hostId: batch.hostId, instanceId: report?.instanceId, state: report?.state, seq: report?.seq };
    if (!isRefusedValue(err)) {
      log.error(about, "reports not folded");
      return false;
    }
    log.error(about, "report cannot be kept and is left out");
    this.#acknowledge(await store.passReports(this.#term.term, batch));
    return true;
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
    this.#acknowledge(result.acknowledgements);
    meters?.reportsFolded(result.folded);
    if (result.illegal > 0) log.warn({ reports: result.illegal }, "reports contradict the state of their instances");
    if (result.touched.length > 0) this.#events.touched(result.touched);
    if (result.freed) this.#events.freed();
  }

  #acknowledge(acknowledgements: readonly Acknowledgement[]): void {
    for (const { hostId, isolation, journal, upToSeq } of acknowledgements) {
      if (journal !== "") this.#ports.bus.publish(subjects.reportAck, { hostId, isolation }, { journal, upToSeq });
    }
  }
}
