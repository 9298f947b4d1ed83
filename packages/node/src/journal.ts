import type { InstanceReport, ReportAck } from "@bulkhead/contracts";
import type { Clock } from "./clock.ts";
import { Flusher } from "./flusher.ts";
import { encodeRecord } from "./records.ts";
import { RecordFile } from "./record-file.ts";
import { withSoundText } from "./report-text.ts";
import type { Storage } from "./storage.ts";

/** A report before the journal numbers it. */
export type ReportDraft = Omit<InstanceReport, "seq" | "journal">;

interface Kept {
  readonly report: InstanceReport;
  readonly bytes: number;
}

type Record =
  | { readonly journal: string; readonly nextSeq: number }
  | { readonly report: InstanceReport }
  | { readonly acknowledged: number };

/**
 * Numbers skipped when an agent takes over a journal: reports that were published while the disk refused them must never
 * share a number with new ones, or the scheduler would take those for repeats.
 */
const restartGap = 1_000_000;
/** The file is rewritten when it has this many records and four times as many as are not acknowledged. */
const rewriteAt = 1_000;

/**
 * Every report, on disk until the scheduler says that it is in Postgres. A disk that refuses never stops the agent:
 * reports stay in memory, `problem` says so, and they are written when it takes them again.
 */
export class Journal {
  readonly id: string;
  readonly #file: RecordFile;
  readonly #flusher: Flusher;
  /** not acknowledged, in order of their numbers */
  readonly #kept = new Map<number, Kept>();
  /** numbers that are not on disk yet */
  readonly #unwritten = new Set<number>();
  #nextSeq: number;
  #acknowledged = 0;
  #acknowledgedOnDisk = 0;

  private constructor(file: RecordFile, state: { id: string; nextSeq: number; acknowledged: number }, clock: Clock) {
    this.#file = file;
    this.id = state.id;
    this.#nextSeq = state.nextSeq;
    this.#acknowledged = state.acknowledged;
    this.#flusher = new Flusher(() => this.#flush(), clock);
  }

  /** `newId` names a journal whose disk is new, is damaged at its head, or refuses to be written. */
  static async open(options: {
    storage: Storage;
    name: string;
    clock: Clock;
    newId: () => string;
  }): Promise<{ journal: Journal; damaged: number }> {
    const { file, values, damaged } = await RecordFile.open(options.storage, options.name);
    const records = values as readonly Record[];
    const head = records.findLast((record) => "journal" in record);
    let acknowledged = 0;
    let highest = (head?.nextSeq ?? 1) - 1;
    for (const record of records) {
      if ("acknowledged" in record) acknowledged = Math.max(acknowledged, record.acknowledged);
      if ("report" in record) highest = Math.max(highest, record.report.seq);
    }
    const waiting = records.flatMap((record) =>
      "report" in record && record.report.seq > acknowledged ? [withSoundText(record.report)] : [],
    );
    if (head !== undefined) {
      const state = { id: head.journal, nextSeq: Math.max(highest, acknowledged) + 1 + restartGap, acknowledged };
      const journal = new Journal(file, state, options.clock);
      for (const report of waiting) journal.#keep(report);
      // Only a number range that is on disk is surely new: another agent may have died here with a full disk.
      const claimed = await journal.#rewrite().then(
        () => true,
        () => false,
      );
      if (claimed) return { journal, damaged };
    }
    const journal = new Journal(file, { id: options.newId(), nextSeq: 1, acknowledged: 0 }, options.clock);
    for (const report of waiting) journal.append(report);
    await journal.#flusher.request().catch(() => undefined);
    return { journal, damaged };
  }

  get problem(): string | null {
    return this.#flusher.problem;
  }

  /** Reports that are not acknowledged. */
  get pending(): number {
    return this.#kept.size;
  }

  /** Numbers and keeps a report. It is on its way to the disk when this returns, or with `lazy` at the next occasion. */
  append(draft: ReportDraft, options: { lazy?: boolean } = {}): InstanceReport {
    const report = { ...withSoundText(draft), seq: this.#nextSeq, journal: this.id };
    this.#nextSeq += 1;
    this.#keep(report);
    this.#unwritten.add(report.seq);
    if (options.lazy !== true) this.#flusher.touch();
    return report;
  }

  /** Resolves when everything appended so far is on disk, or the disk refused it: nothing may wait longer for a disk. */
  async written(): Promise<void> {
    const upTo = this.#nextSeq - 1;
    const waits = (): boolean => {
      const [oldest] = this.#unwritten;
      return oldest !== undefined && oldest <= upTo;
    };
    if (waits()) await (this.#flusher.running ?? this.#flusher.request()).catch(() => undefined);
    // The flush that ran had begun without them.
    if (waits() && this.problem === null) await this.#flusher.request().catch(() => undefined);
  }

  /**
   * The oldest reports that are not acknowledged, in order. Batches always begin with the oldest, because an
   * acknowledgement covers everything below its number.
   */
  unacknowledged(limit: { reports: number; bytes: number }): InstanceReport[] {
    const batch: InstanceReport[] = [];
    let bytes = 0;
    for (const kept of this.#kept.values()) {
      bytes += kept.bytes;
      if (batch.length > 0 && (batch.length >= limit.reports || bytes > limit.bytes)) break;
      batch.push(kept.report);
    }
    return batch;
  }

  /** True while such a report waits for its acknowledgement. */
  waits(matches: (report: InstanceReport) => boolean): boolean {
    for (const { report } of this.#kept.values()) if (matches(report)) return true;
    return false;
  }

  /** Drops what is in Postgres. Acknowledgements of other journals, and old or repeated ones, change nothing. */
  acknowledge(ack: ReportAck): void {
    if (ack.journal !== this.id || ack.upToSeq <= this.#acknowledged || ack.upToSeq >= this.#nextSeq) return;
    this.#acknowledged = ack.upToSeq;
    for (const seq of this.#kept.keys()) {
      if (seq > ack.upToSeq) break;
      this.#kept.delete(seq);
      this.#unwritten.delete(seq);
    }
    // Written with the next report: an acknowledgement that is lost costs one repetition.
  }

  async close(): Promise<void> {
    await this.#flusher.close();
    await this.#file.close();
  }

  #keep(report: InstanceReport): void {
    this.#kept.set(report.seq, { report, bytes: encodeRecord(report).length });
  }

  async #flush(): Promise<void> {
    const seqs = [...this.#unwritten];
    const stale = this.#file.records + seqs.length > Math.max(rewriteAt, 4 * this.#kept.size);
    if (this.#file.records === 0 || this.#file.damaged || stale) {
      await this.#rewrite();
    } else {
      const acknowledged = this.#acknowledged;
      const records = this.#records(seqs);
      if (acknowledged > this.#acknowledgedOnDisk) records.push({ acknowledged });
      if (records.length > 0) await this.#file.append(records);
      this.#acknowledgedOnDisk = acknowledged;
    }
    for (const seq of seqs) this.#unwritten.delete(seq);
  }

  async #rewrite(): Promise<void> {
    const acknowledged = this.#acknowledged;
    const head: Record = { journal: this.id, nextSeq: this.#nextSeq };
    await this.#file.rewrite([head, { acknowledged }, ...this.#records(this.#kept.keys())]);
    this.#acknowledgedOnDisk = acknowledged;
  }

  #records(seqs: Iterable<number>): Record[] {
    return [...seqs].flatMap((seq) => {
      const kept = this.#kept.get(seq);
      return kept === undefined ? [] : [{ report: kept.report }];
    });
  }
}
