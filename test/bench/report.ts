/** How every benchmark speaks: a table for people, then one JSON object as the last line of standard output. */

import { readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";

export interface Figures {
  /** name of the benchmark, as in `npm run bench -- NAME` */
  readonly bench: string;
  readonly p50Ms?: number;
  readonly p99Ms?: number;
  readonly perSecond?: number;
  readonly pssKib?: number;
  /** ours / peer, medians of one interleaved run */
  readonly ratio?: number;
  /** whether a lower or a higher `ratio` (or figure) is better */
  readonly better: "lower" | "higher";
  readonly goal: string;
  readonly met: boolean;
  readonly [extra: string]: unknown;
}

/** The value below which the share `p` (0 to 1) of the samples lies; nearest rank. */
export const percentile = (samples: readonly number[], p: number): number => {
  if (samples.length === 0) throw new RangeError("no samples");
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(p * sorted.length) - 1))] ?? Number.NaN;
};

export const median = (samples: readonly number[]): number => percentile(samples, 0.5);

const round = (value: number): number => Math.round(value * 1000) / 1000;

type Measured = (index: number) => Promise<number>;

/** Runs all in turn, A B C C B A, so that a drift of the machine's speed meets each alike. Times in milliseconds. */
export const interleaveAll = async <Name extends string>(
  rounds: number,
  measured: Readonly<Record<Name, Measured>>,
): Promise<Record<Name, number[]>> => {
  const names = Object.keys(measured) as Name[];
  const times = Object.fromEntries(names.map((name) => [name, [] as number[]])) as Record<Name, number[]>;
  for (let index = 0; index < rounds; index += 1) {
    for (const name of index % 2 === 0 ? names : names.toReversed()) times[name].push(await measured[name](index));
  }
  return times;
};

/** The same with two. */
export const interleave = (pairs: number, a: Measured, b: Measured): Promise<{ a: number[]; b: number[] }> =>
  interleaveAll(pairs, { a, b });

/**
 * Waits until nothing but this program has wanted to run for 10 ms (fourth field of /proc/loadavg, proc(5)), so that
 * what a run leaves to be done afterwards, ours or the peer's, is not charged to the next. Rejects after 10 s.
 */
export const settled = async (): Promise<void> => {
  const deadline = performance.now() + 10_000;
  for (let quiet = 0; quiet < 5;) {
    const [, running] = / (\d+)\/\d+ /.exec(readFileSync("/proc/loadavg", "utf8")) ?? [];
    quiet = Number(running) <= 1 ? quiet + 1 : 0;
    if (performance.now() > deadline) throw new Error("the machine does not come to rest; end what runs on it");
    await delay(2);
  }
};

/** Prints rows in aligned columns; the first row is the heading. */
export const printTable = (rows: readonly (readonly (string | number)[])[]): void => {
  const text = rows.map((row) => row.map((cell) => (typeof cell === "number" ? String(round(cell)) : cell)));
  const widths = (text[0] ?? []).map((_, column) => Math.max(...text.map((row) => row[column]?.length ?? 0)));
  for (const row of text) {
    console.log(
      row
        .map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
        .join("  "),
    );
  }
};

/** The table of times in milliseconds: a line for each set of samples, in the order of `sets`. */
export const printTimes = (heading: string, sets: Readonly<Record<string, readonly number[]>>): void =>
  printTable([
    [heading, "n", "p10 ms", "p50 ms", "p99 ms"],
    ...Object.entries(sets).map(([title, samples]) => [
      title,
      samples.length,
      percentile(samples, 0.1),
      median(samples),
      percentile(samples, 0.99),
    ]),
  ]);

/** The last line of a benchmark. */
export const printFigures = (figures: Figures): void => {
  const rounded = Object.fromEntries(
    Object.entries(figures).map(([key, value]) => [key, typeof value === "number" ? round(value) : value]),
  );
  console.log(`${figures.met ? "goal met" : "GOAL MISSED"}: ${figures.goal}`);
  console.log(JSON.stringify(rounded));
};
