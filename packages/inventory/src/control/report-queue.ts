import type { InstanceReport, ReportBatch } from "@bulkhead/contracts";

/** How far an agent's reports are folded; `journal` is empty before the first. */
export interface FoldedPosition {
  readonly journal: string;
  readonly foldedSeq: number;
}

export interface Queue {
  readonly reports: readonly InstanceReport[];
  readonly position: FoldedPosition;
}

/**
 * Which reports of one agent come next, in the order of its journal, each once. A batch begins with the oldest report
 * that is not acknowledged, so a number that is missing before it is in Postgres, or was, before a restore: nothing is
 * lost by going on. A new journal is taken up when it appears; batches come in the order in which they were sent.
 */
export const queueReports = (batches: readonly ReportBatch[], folded: FoldedPosition): Queue => {
  let position = folded;
  const reports: InstanceReport[] = [];
  for (const [journal, found] of Map.groupBy(
    batches.flatMap((batch) => batch.reports),
    (report) => report.journal,
  )) {
    let seq = journal === position.journal ? position.foldedSeq : 0;
    for (const report of found.toSorted((a, b) => a.seq - b.seq)) {
      if (report.seq <= seq) continue;
      seq = report.seq;
      reports.push(report);
    }
    position = { journal, foldedSeq: seq };
  }
  return { reports, position };
};
