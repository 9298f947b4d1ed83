import type {
  Epoch,
  ExitStatus,
  InstanceMachine,
  InstanceReport,
  InstanceState,
  Isolation,
  ResizeStatus,
} from "@bulkhead/contracts";
import { canMove } from "@bulkhead/lifecycle";

/** The part of an instance's row that reports change, with the epoch that decides whether they may. */
export interface InstanceRow {
  readonly id: string;
  readonly project: string;
  readonly workloadId: string;
  readonly name: string;
  readonly isolation: Isolation;
  readonly hostId: string | null;
  readonly era: number | null;
  readonly epochN: number | null;
  readonly generation: number;
  readonly seenGeneration: number;
  readonly state: InstanceState;
  readonly attempt: number;
  readonly restarts: number;
  readonly reason: string | null;
  readonly detail: string | null;
  readonly exit: ExitStatus | null;
  readonly resize: ResizeStatus | null;
  readonly contractHeld: boolean | null;
  /** of the newest attempt that ran */
  readonly machine: InstanceMachine | null;
  /** of the newest attempt that ran */
  readonly startedAt: string | null;
  readonly traceparent: string | null;
}

/** An event that a report makes; the folder adds whose it is. */
export interface ReportEvent {
  readonly type: "instance.state" | "instance.resized" | "instance.contract";
  readonly at: string;
  readonly data: Readonly<Record<string, unknown>>;
  readonly traceId: string | null;
}

export type Folded =
  | { readonly kind: "changed"; readonly row: InstanceRow; readonly events: readonly ReportEvent[] }
  | { readonly kind: "gone"; readonly epoch: Epoch }
  /** of an older epoch or attempt: the row tells of something newer */
  | { readonly kind: "outdated" }
  | { readonly kind: "illegal"; readonly from: InstanceState; readonly to: InstanceState };

const traceIdOf = (report: InstanceReport, row: InstanceRow): string | null =>
  (report.traceparent ?? row.traceparent)?.split("-")[1] ?? null;

const isCurrent = (row: InstanceRow, { epoch }: InstanceReport): boolean =>
  row.era === epoch.era && row.epochN === epoch.n;

const sameResize = (a: ResizeStatus | null, b: ResizeStatus | null): boolean =>
  a?.generation === b?.generation && a?.outcome === b?.outcome && a?.detail === b?.detail;

/** What one report makes of a row: pure, and the same report again changes nothing. */
export const foldInstance = (row: InstanceRow, report: InstanceReport): Folded => {
  if (report.state === "gone") return { kind: "gone", epoch: report.epoch };
  if (!isCurrent(row, report) || report.attempt < row.attempt) return { kind: "outdated" };
  const to: InstanceState = report.state;
  if (!canMove(row.state, to)) return { kind: "illegal", from: row.state, to };
  const again = report.attempt > row.attempt;
  const starts = to === "running" && (again || row.startedAt === null || row.state === "starting");
  const next: InstanceRow = {
    ...row,
    state: to,
    attempt: report.attempt,
    restarts: report.restarts,
    reason: report.reason,
    detail: report.detail,
    exit: report.exit ?? row.exit,
    resize: report.resize ?? row.resize,
    contractHeld: report.contractHeld ?? row.contractHeld,
    machine: report.machine ?? row.machine,
    seenGeneration: Math.max(row.seenGeneration, report.generation),
    startedAt: starts ? report.at : row.startedAt,
  };
  const base = { at: report.at, traceId: traceIdOf(report, row) };
  const events: ReportEvent[] = [];
  if (to !== row.state || again || report.reason !== row.reason) {
    events.push({
      ...base,
      type: "instance.state",
      data: {
        name: row.name,
        state: to,
        reason: report.reason,
        detail: report.detail,
        exit: report.exit,
        epoch: report.epoch,
        attempt: report.attempt,
      },
    });
  }
  if (report.resize !== null && !sameResize(report.resize, row.resize)) {
    events.push({ ...base, type: "instance.resized", data: { name: row.name, ...report.resize } });
  }
  if (report.contractHeld !== null && report.contractHeld !== row.contractHeld) {
    events.push({
      ...base,
      type: "instance.contract",
      data: { name: row.name, held: report.contractHeld, detail: report.detail },
    });
  }
  return { kind: "changed", row: next, events };
};
