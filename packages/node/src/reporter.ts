import type { HostId, InstanceReport, Isolation, ReportAck } from "@bulkhead/contracts";
import type { Clock, Timer } from "./clock.ts";
import type { ControlPlane } from "./control-plane.ts";
import type { Journal, ReportDraft } from "./journal.ts";

/** Unacknowledged reports are published again after this, in milliseconds. */
const repeatMs = 2_000;
/** How long news that something more important follows soon (`starting`, a contract check) waits for it, in milliseconds. */
const companyMs = 10;
/** Contract of one batch (contracts/event.ts), and half of NATS's default payload limit of 1 MiB. */
const batchLimit = { reports: 500, bytes: 512 * 1024 };
/** With more than this waiting, new reports wait for the repetition: each publication carries all that is unacknowledged. */
const eagerLimit = 64;

/** Journals reports and publishes them until they are acknowledged. */
export class Reporter {
  readonly #journal: Journal;
  readonly #controlPlane: ControlPlane;
  readonly #clock: Clock;
  readonly #hostId: HostId;
  readonly #isolation: Isolation;
  #company: Timer | null = null;
  #repeat: Timer | null = null;
  #publishing = false;
  #publishedSeq = 0;
  #closed = false;

  constructor(options: {
    journal: Journal;
    controlPlane: ControlPlane;
    clock: Clock;
    hostId: HostId;
    isolation: Isolation;
  }) {
    this.#journal = options.journal;
    this.#controlPlane = options.controlPlane;
    this.#clock = options.clock;
    this.#hostId = options.hostId;
    this.#isolation = options.isolation;
  }

  get pending(): number {
    return this.#journal.pending;
  }

  /** Keeps a report and publishes it at once, or, with `soon`, together with what follows within a few milliseconds. */
  report(draft: ReportDraft, options: { soon?: boolean } = {}): InstanceReport {
    const report = this.#journal.append(draft, { lazy: options.soon === true });
    if (options.soon === true) this.#company ??= this.#clock.after(companyMs, () => this.#publish());
    else if (this.#journal.pending <= eagerLimit) this.#publish();
    else this.#armRepeat();
    return report;
  }

  /** Resolves when everything reported so far is on disk, or the disk refused it. */
  written(): Promise<void> {
    return this.#journal.written();
  }

  waits(matches: (report: InstanceReport) => boolean): boolean {
    return this.#journal.waits(matches);
  }

  acknowledge(ack: ReportAck): void {
    this.#journal.acknowledge(ack);
    if (this.#journal.pending === 0) {
      this.#repeat?.cancel();
      this.#repeat = null;
      return;
    }
    const [oldest] = this.#journal.unacknowledged({ reports: 1, bytes: 0 });
    if (oldest !== undefined && oldest.seq > this.#publishedSeq) this.#publish();
  }

  /** Publishes what a previous agent could not get through. */
  start(): void {
    if (this.#journal.pending > 0) this.#publish();
  }

  close(): void {
    this.#closed = true;
    this.#company?.cancel();
    this.#repeat?.cancel();
  }

  #publish(): void {
    this.#company?.cancel();
    this.#company = null;
    if (!this.#publishing) void this.#publishWritten();
  }

  /** One publication at a time; what was reported during it is in it, or in one that follows at once. */
  async #publishWritten(): Promise<void> {
    this.#publishing = true;
    await this.#journal.written();
    this.#publishing = false;
    if (this.#closed) return;
    const reports = this.#journal.unacknowledged(batchLimit);
    const newest = reports.at(-1);
    if (newest === undefined) return;
    this.#publishedSeq = newest.seq;
    this.#armRepeat();
    this.#controlPlane.report({ hostId: this.#hostId, isolation: this.#isolation, reports });
  }

  #armRepeat(): void {
    if (this.#closed || this.#repeat !== null) return;
    this.#repeat = this.#clock.after(repeatMs, () => {
      this.#repeat = null;
      this.#publish();
    });
  }
}
