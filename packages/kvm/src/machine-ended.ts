import { reasonOf } from "@bulkhead/lifecycle";
import { signalName, type Ended } from "@bulkhead/node";
import type { MachineOutcome } from "./engine/engine.ts";
import type { GuestReport } from "./guest/report.ts";

export interface MachineEnd {
  /** how the monitor ended, from its guardian */
  readonly monitor: Ended;
  /** what that says of the machine; null: nothing */
  readonly outcome: MachineOutcome | null;
  /** what the guest said last */
  readonly report: GuestReport | null;
  readonly stopWanted: boolean;
  /** where it saw the directory of its host whose server ended, for which it was ended; null: none did */
  readonly lostDirectory: string | null;
  readonly memoryBytes: number;
}

const sigkill = 9;

/** The program's own end, as the guest told it before it switched the machine off. */
const toldBy = (report: Extract<GuestReport, { state: "ended" }>, end: MachineEnd): Ended => {
  const { exitCode, signal } = report;
  // The guest's kernel kills by SIGKILL, and only what it counted as such.
  const oomKilled = report.oomKills > 0 && signal === sigkill;
  const { startedAt, finishedAt } = end.monitor.exit;
  const reason = reasonOf({ exitCode, signal, oomKilled, stopWanted: end.stopWanted, leaseExpired: false });
  const detail = oomKilled
    ? `killed by its own kernel: the machine's ${Math.round(end.memoryBytes / 2 ** 20)} MiB were not enough`
    : signal === null
      ? `exited with code ${exitCode ?? 0}`
      : `ended by ${signalName(signal)}`;
  return { exit: { exitCode, signal, oomKilled, startedAt, finishedAt }, reason, detail };
};

/** Each way in which a machine goes down without its program's end. */
const happened: Readonly<Record<MachineOutcome, string>> = {
  "kernel-panic": "the guest's kernel panicked; its last words are in the log",
  "triple-fault": "triple fault: the guest's kernel faulted while it handled a fault",
  reset: "the machine was reset from inside",
  "powered-off": "the machine was switched off from inside",
  "instruction-not-emulated": "the host's KVM cannot carry out an instruction of the guest's",
  "cpu-failed": "the host's KVM refused the state of the guest's processor",
  "image-lost":
    "the file of its kernel or initramfs became shorter, or could not be read, before the guest had all of it",
  "not-started": "the monitor could not start the machine; why is in the log",
};

/** The machine went down under its program: nothing is known of the program but that. */
const cutOff = ({ monitor, outcome, stopWanted, lostDirectory, report }: MachineEnd): Ended => {
  const { startedAt, finishedAt } = monitor.exit;
  const exit = { exitCode: null, signal: null, oomKilled: false, startedAt, finishedAt };
  if (stopWanted) {
    return {
      exit: { ...exit, signal: sigkill },
      reason: "StoppedByUser",
      detail: "switched off: it did not end by itself",
    };
  }
  if (lostDirectory !== null) {
    const why = `the file server of "${lostDirectory}" ended, for which its programs would have waited for ever`;
    return { exit, reason: "MountFailed", detail: `${why}; look for virtiofsd in the host's kernel log` };
  }
  if (monitor.reason !== "Exited") {
    const kept = monitor.reason === "Signaled" || monitor.reason === "OomKilled" ? "RuntimeFailed" : monitor.reason;
    return { exit, reason: kept, detail: `its monitor ended: ${monitor.detail ?? monitor.reason}` };
  }
  const when = report === null ? "before its program ran" : "under its program";
  const what = outcome === null ? `its monitor ended: ${monitor.detail ?? monitor.reason}` : happened[outcome];
  return { exit, reason: "RuntimeFailed", detail: `${what}, ${when}` };
};

/** How a machine's run ended: by its program's end when the guest could tell of it, else by what became of the machine. */
export const machineEnded = (end: MachineEnd): Ended =>
  end.report?.state === "ended" ? toldBy(end.report, end) : cutOff(end);
