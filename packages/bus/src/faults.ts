/** Fields first, message constant: pino's loggers fit. */
export interface BusLog {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** What can go wrong with a message without anyone who could be told by a return value. */
export type Fault =
  | "message refused"
  | "handler failed"
  | "reply not sent"
  | "reply too large"
  | "message dropped while disconnected"
  | "request refused, too many at once"
  | "not permitted";

/** Between two lines about one fault of one subject, in milliseconds: a flood must not become a flood of lines. */
const quietMs = 10_000;

interface Tally {
  total: number;
  sinceLine: number;
  lineAtMs: number;
}

/** Counts faults by kind and subject, and logs each kind of each subject at most once in ten seconds. */
export class Faults {
  readonly #log: BusLog;
  readonly #nowMs: () => number;
  readonly #tallies = new Map<string, Tally>();

  constructor(log: BusLog, nowMs: () => number = () => performance.now()) {
    this.#log = log;
    this.#nowMs = nowMs;
  }

  /** `pattern` is a catalogue pattern and never a concrete subject: hosts must not be able to add keys. */
  add(fault: Fault, pattern: string, fields: object): void {
    const key = `${fault}\n${pattern}`;
    const tally = this.#tallies.get(key) ?? { total: 0, sinceLine: 0, lineAtMs: -Infinity };
    this.#tallies.set(key, tally);
    tally.total += 1;
    tally.sinceLine += 1;
    const now = this.#nowMs();
    if (now - tally.lineAtMs < quietMs) return;
    this.#log.warn({ ...fields, pattern, times: tally.sinceLine }, fault);
    tally.sinceLine = 0;
    tally.lineAtMs = now;
  }

  /** How often a fault happened since start, over all subjects. */
  total(fault: Fault): number {
    let sum = 0;
    for (const [key, { total }] of this.#tallies) if (key.startsWith(`${fault}\n`)) sum += total;
    return sum;
  }
}
