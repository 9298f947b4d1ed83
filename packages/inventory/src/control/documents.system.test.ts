import { documentDigest, type DesiredDocument, type DocumentPosition } from "@bulkhead/contracts";
import { startPostgres, type TestPostgres } from "@bulkhead/testkit/servers";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { defaultRetention, migrate, type DocumentMemory } from "../index.ts";
import { batch, report, TestFleet, type TestHost } from "../testing/fixture.ts";

let postgres: TestPostgres;
let fleet: TestFleet;
let host: TestHost;
beforeAll(async () => {
  postgres = await startPostgres({ migrate });
  fleet = await TestFleet.make(postgres);
});
beforeEach(async () => {
  await fleet.reset();
  host = await fleet.addHost();
});
afterAll(async () => {
  await fleet[Symbol.asyncDispose]();
  await postgres[Symbol.asyncDispose]();
});

const fetched = async (have: DocumentPosition | null, memory?: DocumentMemory) => {
  const found = await fleet.control.fetchDocument(host, { have }, memory);
  if (found.kind !== "document") throw new Error(`was ${found.kind}`);
  return found;
};
const fetch = async (have: DocumentPosition | null): Promise<DesiredDocument> => (await fetched(have)).document;
const add = async (name: string) => {
  await fleet.addWorkload(name);
  await fleet.place();
};
const names = (document: DesiredDocument) => document.assignments.map((assignment) => assignment.name).sort();
const bury = (name: string) =>
  fleet.inventory.api.write((tx) =>
    tx.deleteWorkload(fleet.change, { workload: { project: "default", idOrName: name } }),
  );

test("whole without a position, then only what changed, with the digest of the whole", async () => {
  await add("a");
  const whole = await fetch(null);
  expect(whole).toMatchObject({ since: 0, position: { era: 1, version: 1 }, tombstones: [] });
  expect(names(whole)).toEqual(["a-0"]);
  expect(whole.digest).toBe(documentDigest(whole.assignments, []));
  await add("b");
  const delta = await fetch(whole.position);
  expect(delta).toMatchObject({ since: 1, position: { version: 2 } });
  expect(names(delta)).toEqual(["b-0"]);
  expect(delta.digest).toBe(documentDigest([...whole.assignments, ...delta.assignments], []));
  expect(await fetch(delta.position)).toMatchObject({
    since: 2,
    assignments: [],
    tombstones: [],
    digest: delta.digest,
  });
});

test("a tombstone replaces its assignment", async () => {
  await add("a");
  const before = await fetch(null);
  await bury("a");
  const after = await fetch(before.position);
  expect(after.assignments).toEqual([]);
  expect(after.tombstones).toEqual([
    { instanceId: before.assignments[0]?.instanceId, epoch: { era: 1, n: 1 }, graceMs: 10_000 },
  ]);
  expect(after.digest).toBe(documentDigest([], after.tombstones));
});

test("positions of another cluster, of an earlier era and from before a compaction get the whole document", async () => {
  await add("a");
  await add("b");
  const { position } = await fetch(null);
  const other = { ...position, clusterId: crypto.randomUUID() } as DocumentPosition;
  expect((await fetch(other)).since).toBe(0);
  await fleet.control.startEra({ term: fleet.term, seenEra: 1, hostId: host.hostId, reason: "test" });
  expect(await fetch(position)).toMatchObject({ since: 0, position: { era: 2 } });

  const { position: newer, assignments } = await fetch(null);
  await bury("a");
  const [a] = assignments.filter((assignment) => assignment.name === "a-0");
  if (a === undefined) throw new Error("a is not there");
  await fleet.fold(batch(host, [report(a, 1, { state: "gone" })]));
  expect((await fetch(newer)).tombstones).toHaveLength(1);
  const removed = await fleet.control.removeOld(fleet.term, { ...defaultRetention, goneAgeMs: -1000 });
  expect(removed.assignments).toBe(1);
  const compacted = await fetch(newer);
  expect(compacted).toMatchObject({ since: 0, tombstones: [] });
  expect(names(compacted)).toEqual(["b-0"]);
  expect(await fleet.control.readOutbox(10)).toContainEqual(
    expect.objectContaining({ ...host, version: compacted.position.version }),
  );
});

test("an agent ahead of the database is named so", async () => {
  await add("a");
  const { position } = await fetch(null);
  expect(await fleet.control.fetchDocument(host, { have: { ...position, version: 9 } })).toEqual({
    kind: "ahead",
    era: 1,
    version: 1,
  });
  expect(await fleet.control.fetchDocument(host, { have: { ...position, era: 2 } })).toMatchObject({ kind: "ahead" });
});

test("a host that never joined has none", async () => {
  const stranger = { hostId: crypto.randomUUID(), isolation: "container" };
  expect(await fleet.control.fetchDocument(stranger, { have: null })).toEqual({ kind: "unknown-host" });
});

test("with the memory of earlier answers the digest is that of a whole reading, through every kind of change", async () => {
  let memory: DocumentMemory | undefined;
  let have: DocumentPosition | null = null;
  const step = async (change: () => Promise<unknown>) => {
    await change();
    const answer = await fetched(have, memory);
    memory = answer.memory;
    have = answer.document.position;
    expect(answer.document.digest).toBe((await fetch(null)).digest);
  };
  await step(() => add("a"));
  await step(() => add("b"));
  await step(() => add("c"));
  await step(() => bury("a"));
  await step(() => fleet.query(`UPDATE assignment SET tombstone = true, gone_at = now() WHERE tombstone`));
  await step(() => fleet.control.removeOld(fleet.term, { ...defaultRetention, goneAgeMs: -1000 }));
  await step(() => fleet.control.startEra({ term: fleet.term, seenEra: 1, hostId: host.hostId, reason: "test" }));
  await step(() => bury("b"));
  // An agent that lost its position asks anew, with the memory still there.
  have = null;
  await step(() => Promise.resolve());
  expect(names(await fetch(null))).toEqual(["c-0"]);
});
