import type { Inbound } from "@bulkhead/bus";
import type { ReportBatch } from "@bulkhead/contracts";
import { NotLeading } from "@bulkhead/inventory";
import { describe, expect, test } from "vitest";
import type { ControlPorts } from "./ports.ts";
import { ReportFolder } from "./report-folder.ts";
import { memoryLog } from "./testing/memory-log.ts";

const refused = Object.assign(new Error("unsupported Unicode escape sequence"), { code: "22P05" });

/** A folder over a database that fails for the reports of these numbers. */
const folderFor = (failures: Readonly<Record<number, Error>>) => {
  const folded: number[] = [];
  const passed: number[] = [];
  const log = memoryLog();
  const seqs = (batch: ReportBatch) => batch.reports.map(({ seq }) => seq);
  const store = {
    foldReports: async (_term: number, batches: readonly ReportBatch[]) => {
      const all = batches.flatMap(seqs);
      for (const seq of all) if (failures[seq] !== undefined) throw failures[seq];
      folded.push(...all);
      return { acknowledgements: [], folded: all.length, illegal: 0, touched: [], freed: false };
    },
    passReports: async (_term: number, batch: ReportBatch) => {
      passed.push(...seqs(batch));
      return [];
    },
  };
  const nothing = () => undefined;
  const folder = new ReportFolder({
    ports: { store, log } as unknown as ControlPorts,
    term: { term: 1, clusterId: "", valid: () => true, startedAtMs: 0 },
    events: { folded: nothing, touched: nothing, freed: nothing, failed: nothing },
  });
  const fold = (...batches: readonly (readonly number[])[]) =>
    folder.fold(
      batches.map((numbers, host) => {
        const reports = numbers.map((seq) => ({ seq }));
        return { body: { hostId: `host-${host}`, isolation: "vm", reports } } as unknown as Inbound<ReportBatch>;
      }),
    );
  return { fold, folded, passed, log };
};

describe("reports that cannot be folded", () => {
  test("what the database refuses for ever is passed over, wherever it is; all else is folded in order", async () => {
    const { fold, folded, passed } = folderFor({ 1: refused, 4: refused, 5: refused });
    await fold([1, 2, 3, 4, 5, 6], [11, 12]);
    expect(folded).toEqual([2, 3, 6, 11, 12]);
    expect(passed).toEqual([1, 4, 5]);
  });

  test("a fault of our own loses nothing: what comes after it waits with it, of this agent alone", async () => {
    const { fold, folded, passed, log } = folderFor({ 3: new TypeError("a bug") });
    await fold([1, 2, 3, 4, 5], [11]);
    expect(folded).toEqual([1, 2, 11]);
    expect(passed).toEqual([]);
    expect(log.lines.map(({ message, fields }) => [message, fields["seq"]])).toEqual([["reports not folded", 3]]);
  });

  test("a term that is over is no fault of the reports: they come again", async () => {
    const { fold, folded, passed } = folderFor({ 2: new NotLeading(1) });
    await expect(fold([1, 2])).rejects.toThrow(NotLeading);
    expect([folded, passed]).toEqual([[], []]);
  });
});
