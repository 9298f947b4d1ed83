import type { InstanceReport, ReportBatch } from "@bulkhead/contracts";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { queueReports } from "./report-queue.ts";

const report = (seq: number, journal = "j1"): InstanceReport => ({ seq, journal }) as InstanceReport;
const batch = (seqs: number[], oldestSeq?: number, journal = "j1"): ReportBatch =>
  ({
    reports: seqs.map((seq) => report(seq, journal)),
    ...(oldestSeq === undefined ? {} : { oldestSeq }),
  }) as ReportBatch;
const at = (foldedSeq: number, journal = "j1") => ({ journal, foldedSeq });
const seqsOf = (queue: { reports: readonly InstanceReport[] }) => queue.reports.map((found) => found.seq);

describe("queueReports", () => {
  test("takes what follows, in order, each once, whatever the order of arrival", () => {
    const queue = queueReports([batch([4, 5]), batch([2, 3]), batch([3, 4])], at(1));
    expect(seqsOf(queue)).toEqual([2, 3, 4, 5]);
    expect(queue).toMatchObject({ position: at(5), gapAt: null });
  });

  test("leaves out what is folded, and acknowledges it again", () => {
    expect(queueReports([batch([1, 2, 3])], at(3))).toEqual({ reports: [], position: at(3), gapAt: null });
  });

  test("takes nothing beyond a missing number and names it", () => {
    const queue = queueReports([batch([3, 5, 6])], at(2));
    expect(seqsOf(queue)).toEqual([3]);
    expect(queue).toMatchObject({ position: at(3), gapAt: 4 });
  });

  test("a gap that will not close: the journal's oldest number is the next", () => {
    expect(seqsOf(queueReports([batch([50, 51], 50)], at(10)))).toEqual([50, 51]);
    expect(queueReports([batch([51], 50)], at(10))).toMatchObject({ reports: [], gapAt: 50 });
  });

  test("a gap that was waited for long enough is skipped", () => {
    expect(seqsOf(queueReports([batch([5, 9])], at(2), true))).toEqual([5, 9]);
  });

  test("a new journal begins at one, or at the oldest number it names", () => {
    expect(queueReports([batch([1, 2], 1, "j2")], at(70)).position).toEqual(at(2, "j2"));
    expect(queueReports([batch([8], 8, "j2")], at(70)).position).toEqual(at(8, "j2"));
    expect(queueReports([batch([2], 1, "j2")], at(70))).toMatchObject({ reports: [], gapAt: 1 });
  });

  test("the end of the old journal and the beginning of the new one in one go", () => {
    const queue = queueReports([batch([3]), batch([1, 2], 1, "j2")], at(2));
    expect(queue.reports.map((found) => `${found.journal}:${found.seq}`)).toEqual(["j1:3", "j2:1", "j2:2"]);
    expect(queue.position).toEqual(at(2, "j2"));
  });

  test("property: however batches are cut, repeated and shuffled, every report is folded once and in order", () => {
    const batches = fc
      .array(fc.tuple(fc.integer({ min: 1, max: 30 }), fc.integer({ min: 1, max: 8 })), { minLength: 1, maxLength: 20 })
      .map((cuts) =>
        cuts.map(([from, count]) =>
          batch(
            Array.from({ length: count }, (_, more) => from + more),
            1,
          ),
        ),
      );
    fc.assert(
      fc.property(fc.array(batches, { minLength: 1, maxLength: 5 }), (deliveries) => {
        const folded: number[] = [];
        let position = at(0, "");
        for (const delivery of deliveries) {
          const queue = queueReports(delivery, position);
          folded.push(...seqsOf(queue));
          position = queue.position;
        }
        expect(folded).toEqual(folded.map((_, index) => index + 1));
        expect(position.foldedSeq).toBe(folded.length);
      }),
    );
  });
});
