import type { InstanceReport, ReportBatch } from "@bulkhead/contracts";

/** How far an agent's reports are folded; `journal` is empty before the first. */
export interface FoldedPosition {
  readonly journal: string;
  readonly foldedSeq: number;
}

export interface Queue {
  readonly reports: readonly InstanceReport[];
  readonly position: FoldedPosition;
  /** the first missing number, when later ones wait for it */
  readonly gapAt: number | null;
}

/**
 * Which reports of one agent come next, in the order of its journal: repeated ones are left out, and nothing is taken
 * beyond a missing number, so that what is acknowledged was folded. `oldestSeq` of a batch says that earlier numbers
 * will not come: the journal gave them up because this control plane once acknowledged them, before it was restored.
 */
export const queueReports = (
  batches: readonly ReportBatch[],
  folded: FoldedPosition,
  /** accept gaps: they were waited for and the agent does not say what it still has */
  skipGaps = false,
): Queue => {
  let position = folded;
  let gapAt: number | null = null;
  const reports: InstanceReport[] = [];
  // A new journal is taken up when it appears after the old one; batches come in the order in which they were sent.
  const journals = [...new Set(batches.flatMap((batch) => batch.reports.map((report) => report.journal)))];
  for (const journal of journals) {
    const mine = batches.filter((batch) => batch.reports.some((report) => report.journal === journal));
    const oldest = Math.max(1, ...mine.map((batch) => batch.oldestSeq ?? 1));
    const sorted = mine
      .flatMap((batch) => batch.reports)
      .filter((report) => report.journal === journal)
      .toSorted((a, b) => a.seq - b.seq);
    let seq = journal === position.journal ? position.foldedSeq : 0;
    for (const report of sorted) {
      if (report.seq <= seq) continue;
      const next = Math.max(seq + 1, oldest);
      if (report.seq > next && !skipGaps) {
        gapAt ??= next;
        break;
      }
      seq = report.seq;
      reports.push(report);
    }
    position = { journal, foldedSeq: seq };
  }
  return { reports, position, gapAt };
};
