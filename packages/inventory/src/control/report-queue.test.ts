import type { InstanceReport, ReportBatch } from "@bulkhead/contracts";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { queueReports } from "./report-queue.ts";

const report = (seq: number, journal = "j1"): InstanceReport => ({ seq, journal }) as InstanceReport;
const batch = (seqs: number[], journal = "j1"): ReportBatch =>
  ({ reports: seqs.map((seq) => report(seq, journal)) }) as ReportBatch;
const at = (foldedSeq: number, journal = "j1") => ({ journal, foldedSeq });
const seqsOf = (queue: { reports: readonly InstanceReport[] }) => queue.reports.map((found) => found.seq);

describe("queueReports", () => {
  test("takes what follows, in order, each once, whatever the order of arrival", () => {
    const queue = queueReports([batch([2, 3, 4, 5]), batch([2, 3]), batch([3, 4])], at(1));
    expect(seqsOf(queue)).toEqual([2, 3, 4, 5]);
    expect(queue.position).toEqual(at(5));
  });

  test("leaves out what is folded, and acknowledges it again", () => {
    expect(queueReports([batch([1, 2, 3])], at(3))).toEqual({ reports: [], position: at(3) });
  });

  test("goes on where the batch begins, when what came before was acknowledged by a database that was restored", () => {
    const queue = queueReports([batch([50, 51])], at(10));
    expect(seqsOf(queue)).toEqual([50, 51]);
    expect(queue.position).toEqual(at(51));
  });

  test("a new journal begins where it begins", () => {
    expect(queueReports([batch([1, 2], "j2")], at(70)).position).toEqual(at(2, "j2"));
  });

  test("the end of the old journal and the beginning of the new one in one go", () => {
    const queue = queueReports([batch([3]), batch([1, 2], "j2")], at(2));
    expect(queue.reports.map((found) => `${found.journal}:${found.seq}`)).toEqual(["j1:3", "j2:1", "j2:2"]);
    expect(queue.position).toEqual(at(2, "j2"));
  });

  test("property: whatever messages and acknowledgements are lost, repeated or late, all is folded once and in order", () => {
    // An agent sends everything not acknowledged; each delivery may be lost or delayed, each acknowledgement lost.
    const rounds = fc.array(
      fc.record({ more: fc.nat(3), sends: fc.nat(3), lost: fc.boolean(), late: fc.boolean(), acked: fc.boolean() }),
      { minLength: 1, maxLength: 40 },
    );
    fc.assert(
      fc.property(rounds, (plan) => {
        let [written, acknowledged] = [0, 0];
        let position = at(0, "");
        const folded: number[] = [];
        const delayed: ReportBatch[] = [];
        for (const { more, sends, lost, late, acked } of plan) {
          written += more;
          const pending = Array.from({ length: written - acknowledged }, (_, index) => acknowledged + index + 1);
          const sent = pending.length === 0 ? [] : Array.from({ length: sends }, () => batch(pending));
          if (late) delayed.push(...sent);
          const arriving = [...(late || lost ? [] : sent), ...delayed.splice(0, late ? 0 : 2)];
          const queue = queueReports(arriving, position);
          folded.push(...seqsOf(queue));
          ({ position } = queue);
          if (acked) acknowledged = Math.max(acknowledged, position.foldedSeq);
        }
        expect(folded).toEqual(folded.map((_, index) => index + 1));
        expect(position.foldedSeq).toBe(folded.length);
      }),
    );
  });
});
