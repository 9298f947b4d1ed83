import { assignment, FakeClock, instanceId, MemoryStorage, settle } from "@bulkhead/testkit/runtime";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Journal, type ReportDraft } from "./journal.ts";
import { encodeRecord } from "./records.ts";

const name = "journal/container.log";
const everything = { reports: 1_000, bytes: 2 ** 30 };

const draft = (attempt: number): ReportDraft => ({
  instanceId: instanceId(1),
  epoch: assignment().epoch,
  attempt,
  generation: 1,
  state: "running",
  reason: null,
  detail: null,
  exit: null,
  resize: null,
  contractHeld: null,
  restarts: 0,
  at: "2026-01-01T00:00:00.000Z",
});

/** Half of a character, which a text may end in that was cut by its units. */
const torn = "\ud83d";

const open = async (storage: MemoryStorage, clock = new FakeClock(), id = "first") => {
  const { journal, damaged } = await Journal.open({ storage, clock, name, newId: () => id });
  return { journal, damaged, clock };
};
const attempts = (journal: Journal): number[] => journal.unacknowledged(everything).map(({ attempt }) => attempt);

describe("text of reports", () => {
  const resize = { generation: 1, outcome: "deferred", detail: `b${torn}` } as const;

  test("is such as every database keeps, and no longer than the contract allows", async () => {
    const { journal } = await open(new MemoryStorage());
    const odd = journal.append({ ...draft(0), detail: "a\0", resize });
    expect(odd).toMatchObject({ detail: "a\ufffd", resize: { detail: "b\ufffd" } });
    const long = journal.append({ ...draft(0), detail: `${"a".repeat(4095)}\u{1f600}` });
    expect(long.detail).toBe("a".repeat(4095));
    const longResize = journal.append({ ...draft(0), resize: { ...resize, detail: "b".repeat(100_000) } });
    expect(longResize.resize?.detail).toHaveLength(4096);
  });

  test("is made so when it is read as well: an agent before this one may have left what nobody takes", async () => {
    const storage = new MemoryStorage();
    const old = { ...draft(3), seq: 7, journal: "first", detail: `\0${"a".repeat(5_000)}`, resize };
    const lines = [{ journal: "first", nextSeq: 1 }, { report: old }].map((record) => encodeRecord(record));
    await storage.replace(name, Buffer.from(lines.join("")));
    const { journal } = await open(storage, new FakeClock(), "second");
    const [read] = journal.unacknowledged(everything);
    expect(read).toMatchObject({ seq: 7, journal: "first", attempt: 3, resize: { detail: "b\ufffd" } });
    expect(read?.detail).toBe(`\ufffd${"a".repeat(4095)}`);
  });
});

describe("journal", () => {
  test("keeps what is not acknowledged, in order, across a crash", async () => {
    const storage = new MemoryStorage();
    const { journal } = await open(storage);
    for (const attempt of [0, 1, 2, 3]) journal.append(draft(attempt));
    await journal.written();
    journal.acknowledge({ journal: "first", upToSeq: 2 });
    journal.append(draft(4));
    await journal.written();
    const { journal: next } = await open(storage, new FakeClock(), "second");
    expect(next.id).toBe("first");
    expect(attempts(next)).toEqual([2, 3, 4]);
  });

  test("numbers rise, and an agent's first number is clear of all its predecessor may have used", async () => {
    const storage = new MemoryStorage();
    const { journal } = await open(storage);
    const before = journal.append(draft(0));
    await journal.written();
    storage.full = true;
    const unwritten = journal.append(draft(1));
    expect([before.seq, unwritten.seq]).toEqual([1, 2]);
    storage.full = false;
    const { journal: next } = await open(storage);
    expect(next.append(draft(2)).seq).toBeGreaterThan(unwritten.seq + 1_000);
  });

  test("a disk that is full when an agent starts gives it a new journal, with what it could read", async () => {
    const storage = new MemoryStorage();
    const { journal } = await open(storage);
    journal.append(draft(0));
    await journal.written();
    storage.full = true;
    const { journal: next } = await open(storage, new FakeClock(), "second");
    expect(next.id).toBe("second");
    expect(attempts(next)).toEqual([0]);
    expect(next.problem).toContain("ENOSPC");
  });

  test("a full disk costs no report and no wait; they are written when there is room", async () => {
    const storage = new MemoryStorage();
    const { journal, clock } = await open(storage);
    storage.full = true;
    journal.append(draft(0));
    await journal.written();
    journal.append(draft(1));
    await journal.written();
    expect(attempts(journal)).toEqual([0, 1]);
    expect(journal.problem).toContain("ENOSPC");
    storage.full = false;
    await clock.advance(1_000);
    expect(journal.problem).toBeNull();
    const { journal: next } = await open(storage);
    expect(attempts(next)).toEqual([0, 1]);
  });

  test("a torn end loses that report alone, whatever the length that is left", async () => {
    const whole = new MemoryStorage();
    const { journal } = await open(whole);
    for (const attempt of [0, 1, 2]) journal.append(draft(attempt));
    await journal.written();
    const length = whole.files.get(name)?.byteLength ?? 0;
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: length }), async (cut) => {
        const storage = new MemoryStorage();
        storage.files.set(name, whole.files.get(name) ?? new Uint8Array());
        storage.tear(name, cut);
        const lines = storage.text(name).split("\n");
        const complete = whole
          .text(name)
          .split("\n")
          .filter((line) => line !== "" && lines.includes(line));
        const { journal: next } = await open(storage, new FakeClock(), "second");
        expect(attempts(next)).toHaveLength(complete.filter((line) => line.includes('"report"')).length);
        const after = next.append(draft(9));
        await next.written();
        const { journal: last, damaged } = await open(storage);
        expect(damaged).toBe(0);
        expect(attempts(last).at(-1)).toBe(9);
        expect(last.unacknowledged(everything).at(-1)?.seq).toBe(after.seq);
      }),
    );
  });

  test("a flipped bit loses that record alone", async () => {
    const storage = new MemoryStorage();
    const { journal } = await open(storage);
    for (const attempt of [0, 1, 2]) journal.append(draft(attempt));
    await journal.written();
    const content = Buffer.from(storage.text(name).replace('"attempt":1', '"attempt":7'));
    storage.files.set(name, content);
    const { journal: next, damaged } = await open(storage);
    expect(damaged).toBe(1);
    expect(attempts(next)).toEqual([0, 2]);
  });

  test("acknowledgements of other journals, of the future, and old ones change nothing", async () => {
    const { journal } = await open(new MemoryStorage());
    for (const attempt of [0, 1]) journal.append(draft(attempt));
    journal.acknowledge({ journal: "another", upToSeq: 2 });
    journal.acknowledge({ journal: "first", upToSeq: 3 });
    expect(journal.pending).toBe(2);
    journal.acknowledge({ journal: "first", upToSeq: 1 });
    journal.acknowledge({ journal: "first", upToSeq: 0 });
    expect(attempts(journal)).toEqual([1]);
  });

  test("batches begin with the oldest and keep to both limits, but never to nothing", async () => {
    const { journal } = await open(new MemoryStorage());
    for (let attempt = 0; attempt < 10; attempt += 1) journal.append(draft(attempt));
    expect(journal.unacknowledged({ reports: 3, bytes: 2 ** 20 }).map(({ attempt }) => attempt)).toEqual([0, 1, 2]);
    expect(journal.unacknowledged({ reports: 9, bytes: 700 }).length).toBeLessThan(4);
    expect(journal.unacknowledged({ reports: 9, bytes: 1 })).toHaveLength(1);
  });

  test("the file does not grow with what was acknowledged", async () => {
    const storage = new MemoryStorage();
    const { journal } = await open(storage);
    for (let attempt = 0; attempt < 5_000; attempt += 1) {
      const { seq } = journal.append(draft(attempt));
      if (attempt % 10 === 9) await journal.written();
      journal.acknowledge({ journal: "first", upToSeq: seq - 1 });
    }
    await settle();
    expect(storage.text(name).split("\n").length).toBeLessThan(1_200);
    const { journal: next } = await open(storage);
    // The last acknowledgement is written with the next report: until then it costs a repetition.
    expect(attempts(next)).toEqual([4_998, 4_999]);
  });
});
