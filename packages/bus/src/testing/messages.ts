import type { BodyOf, HostId, InstanceId, InstanceReport, subjects } from "@bulkhead/contracts";
import type { BusLog } from "../faults.ts";

export const hostA = "01936f6e-0000-7000-8000-00000000000a" as HostId;
export const hostB = "01936f6e-0000-7000-8000-00000000000b" as HostId;

/** Messages for tests, of host A unless said otherwise. */
const report = (seq: number): InstanceReport => ({
  seq,
  journal: "journal",
  instanceId: "01936f6e-0000-7000-8000-0000000000f1" as InstanceId,
  epoch: { era: 1, n: 1 },
  attempt: 0,
  generation: 1,
  state: "running",
  reason: null,
  detail: null,
  exit: null,
  resize: null,
  contractHeld: null,
  restarts: 0,
  at: "2026-11-23T10:00:00.000Z",
});

export const reports = (seq: number, hostId: HostId = hostA): BodyOf<typeof subjects.report> => ({
  hostId,
  isolation: "container",
  reports: [report(seq)],
});

export interface LoggedLine {
  readonly level: string;
  readonly message: string;
  readonly fields: Record<string, unknown>;
}

/** A log that keeps its lines. */
export const memoryLog = (): BusLog & { lines: LoggedLine[]; messages(): string[] } => {
  const lines: LoggedLine[] = [];
  const at = (level: string) => (fields: object, message: string) =>
    void lines.push({ level, message, fields: fields as Record<string, unknown> });
  return {
    lines,
    messages: () => lines.map(({ message }) => message),
    debug: at("debug"),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
  };
};
