import type { StartStep } from "@bulkhead/namespaces/testing";
import { median } from "./report.ts";

/** Medians over many starts of when each step began, and how long its process took for it. */
export class StepTable {
  readonly #steps = new Map<string, { beganUs: number[]; tookUs: number[] }>();

  /** The steps of one start, those of each process in their order. */
  add(steps: readonly StartStep[]): void {
    const began = Math.min(...steps.map(({ atNs }) => atNs));
    const seen = new Map<string, number>();
    for (const [index, step] of steps.entries()) {
      const next = steps.slice(index + 1).find(({ process }) => process === step.process);
      // The last step of each process is execve, or waiting for others.
      if (next === undefined) continue;
      const title = `${step.process}: ${step.name}`;
      const times = (seen.get(title) ?? 0) + 1;
      seen.set(title, times);
      const key = times === 1 ? title : `${title} (${times})`;
      const row = this.#steps.get(key) ?? { beganUs: [], tookUs: [] };
      this.#steps.set(key, row);
      row.beganUs.push((step.atNs - began) / 1000);
      row.tookUs.push((next.atNs - step.atNs) / 1000);
    }
  }

  /** With a heading; by the time at which steps begin. */
  rows(title: string): (string | number)[][] {
    const rows = [...this.#steps].map(([title, { beganUs, tookUs }]) => ({
      title,
      beganUs: Math.round(median(beganUs)),
      tookUs: Math.round(median(tookUs)),
    }));
    rows.sort((a, b) => a.beganUs - b.beganUs);
    return [[title, "begins us", "takes us"], ...rows.map(({ title, beganUs, tookUs }) => [title, beganUs, tookUs])];
  }
}
