import {
  documentDigest,
  type Assignment,
  type DesiredDocument,
  type DocumentPosition,
  type Tombstone,
} from "@bulkhead/contracts";
import {
  assignment,
  clusterId,
  epoch,
  FakeClock,
  instanceId,
  MemoryStorage,
  otherClusterId,
} from "@bulkhead/testkit/runtime";
import { describe, expect, test } from "vitest";
import { DesiredStore } from "./desired-store.ts";

const name = "desired.container.json";
const open = (storage = new MemoryStorage(), clock = new FakeClock()) =>
  DesiredStore.open({ storage, name, clusterId, clock });

const document = (
  version: number,
  content: { assignments?: Assignment[]; tombstones?: Tombstone[]; since?: number } = {},
  place: Partial<DocumentPosition> = {},
): DesiredDocument => {
  const { assignments = [], tombstones = [], since = 0 } = content;
  const position = { clusterId, era: 1, version, ...place };
  return { position, since, digest: documentDigest(assignments, tombstones), assignments, tombstones };
};

describe("desired state", () => {
  test("a whole document, then changes, then the same again from disk", async () => {
    const storage = new MemoryStorage();
    const clock = new FakeClock();
    const store = await open(storage, clock);
    const [first, second] = [assignment(), assignment({ n: 2 })];
    expect(store.accept(document(1, { assignments: [first] })).kind).toBe("accepted");
    const changes = {
      ...document(2, { assignments: [second], since: 1 }),
      digest: documentDigest([first, second], []),
    };
    expect(store.accept(changes)).toEqual({ kind: "accepted", touched: new Set([second.instanceId]) });
    expect(store.digest).toBe(changes.digest);
    await clock.advance(100);
    const next = await open(storage);
    expect(next.position).toEqual(store.position);
    expect(next.digest).toBe(store.digest);
    expect(next.assignmentOf(instanceId(2))).toEqual(second);
  });

  test("a tombstone takes its assignment away, and not a newer one", async () => {
    const store = await open();
    store.accept(document(1, { assignments: [assignment(), assignment({ n: 2, epoch: epoch(2) })] }));
    const tombstones = [1, 2].map((n) => ({ instanceId: instanceId(n), epoch: epoch(1), graceMs: 0 }));
    store.accept(document(2, { tombstones, since: 1 }));
    expect(store.assignmentOf(instanceId(1))).toBeNull();
    expect(store.assignmentOf(instanceId(2))?.epoch).toEqual(epoch(2));
    expect(store.tombstonesOf(instanceId(2))).toHaveLength(1);
  });

  test("of what a document names twice the later counts, and a tombstone more than its assignment", async () => {
    const store = await open();
    const [ended, changed] = [assignment(), assignment({ n: 2 })];
    const newer = { ...changed, generation: changed.generation + 1 };
    const tombstones = [{ instanceId: ended.instanceId, epoch: ended.epoch, graceMs: 0 }];
    store.accept(document(1, { assignments: [changed, ended, newer], tombstones }));
    expect(store.assignmentOf(changed.instanceId)).toEqual(newer);
    expect(store.digest).toBe(documentDigest([newer], tombstones));
  });

  test("a whole document touches also what it no longer names", async () => {
    const store = await open();
    store.accept(document(1, { assignments: [assignment()] }));
    expect(store.accept(document(2, { assignments: [assignment({ n: 2 })] }))).toEqual({
      kind: "accepted",
      touched: new Set([instanceId(1), instanceId(2)]),
    });
  });

  test.each<[string, DesiredDocument, string]>([
    ["another cluster", document(9, {}, { clusterId: otherClusterId, era: 9 }), "refused"],
    ["an older version", document(4), "refused"],
    ["an older era", document(9, {}, { era: 1 }), "refused"],
    ["changes since a version it never had", document(9, { since: 8 }, { era: 2 }), "whole"],
    ["changes in an era it never saw", document(9, { since: 5 }, { era: 3 }), "whole"],
    ["the same again", document(5, { assignments: [assignment()] }, { era: 2 }), "unchanged"],
    ["changes that contradict the same version", document(5, { since: 5 }, { era: 2 }), "whole"],
  ])("%s", async (_, offered, kind) => {
    const store = await open();
    store.accept(document(5, { assignments: [assignment()] }, { era: 2 }));
    const digest = store.digest;
    expect(store.accept(offered).kind).toBe(kind);
    expect(store.digest).toBe(digest);
  });

  test("a new era begins with a whole document, whatever its version", async () => {
    const store = await open();
    store.accept(document(5, { assignments: [assignment()] }));
    expect(store.accept(document(1, {}, { era: 2 })).kind).toBe("accepted");
    expect(store.position).toEqual({ clusterId, era: 2, version: 1 });
  });

  test("a torn file counts as none", async () => {
    const storage = new MemoryStorage();
    const clock = new FakeClock();
    const store = await open(storage, clock);
    store.accept(document(1, { assignments: [assignment()] }));
    await clock.advance(100);
    storage.tear(name, 10);
    expect((await open(storage)).position).toBeNull();
  });

  test("a full disk is a problem to show, not a reason to disobey", async () => {
    const storage = new MemoryStorage();
    const clock = new FakeClock();
    const store = await open(storage, clock);
    storage.full = true;
    expect(store.accept(document(1)).kind).toBe("accepted");
    await clock.advance(100);
    expect(store.problem).toContain("ENOSPC");
  });
});
