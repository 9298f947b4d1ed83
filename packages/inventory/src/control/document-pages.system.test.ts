import { documentDigest, type Assignment, type DesiredDocument, type DocumentPlace } from "@bulkhead/contracts";
import { startPostgres, type TestPostgres } from "@bulkhead/testkit/servers";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { defaultRetention, migrate, type DocumentMemory } from "../index.ts";
import { batch, facts, report, TestFleet, type TestHost } from "../testing/fixture.ts";

let postgres: TestPostgres;
let fleet: TestFleet;
let host: TestHost;
beforeAll(async () => {
  postgres = await startPostgres({ migrate });
  fleet = await TestFleet.make(postgres);
});
beforeEach(async () => {
  await fleet.reset();
  host = await fleet.addHost({ facts: facts({ cpuMillis: 1_000_000, memoryBytes: 2 ** 45, cpuCount: 1_000 }) });
});
afterAll(async () => {
  await fleet[Symbol.asyncDispose]();
  await postgres[Symbol.asyncDispose]();
});

const add = async (name: string, replicas: number, env: Record<string, string> = {}) => {
  await fleet.addWorkload(name, { replicas, env });
  await fleet.place();
};
const bury = (name: string) =>
  fleet.inventory.api.write((tx) =>
    tx.deleteWorkload(fleet.change, { workload: { project: "default", idOrName: name } }),
  );
const relabel = (name: string) =>
  fleet.inventory.api.write((tx) =>
    tx.patchWorkload(fleet.change, {
      workload: { project: "default", idOrName: name },
      revise: ({ spec }) => ({ ...spec, stopGraceMs: 1 }),
    }),
  );

let memory: DocumentMemory | undefined;
const page = async (after: DocumentPlace | null): Promise<DesiredDocument> => {
  const fetched = await fleet.control.fetchDocument(host, { have: null, after }, memory);
  if (fetched.kind !== "document") throw new Error(`was ${fetched.kind}`);
  memory = fetched.memory;
  return fetched.document;
};
/** All pages, as they came; `between` happens after the first one. */
const pages = async (between: () => Promise<unknown> = async () => undefined): Promise<DesiredDocument[]> => {
  memory = undefined;
  const read = [await page(null)];
  await between();
  for (let next = read[0]?.next; next !== undefined; next = read.at(-1)?.next) read.push(await page(next));
  return read;
};
/** What an agent holds after it obeyed all pages as one document. */
const held = (read: readonly DesiredDocument[]): { names: string[]; digest: string } => {
  const assignments = new Map(read.flatMap((one) => one.assignments).map((each) => [each.instanceId, each]));
  const tombstones = new Map(
    read.flatMap((one) => one.tombstones).map((each) => [`${each.instanceId} ${each.epoch.n}`, each]),
  );
  for (const { instanceId, epoch } of tombstones.values()) {
    if ((assignments.get(instanceId)?.epoch.n ?? Infinity) <= epoch.n) assignments.delete(instanceId);
  }
  const all = [...assignments.values()];
  return { names: all.map(({ name }) => name).sort(), digest: documentDigest(all, [...tombstones.values()]) };
};
const bytesOf = (value: unknown): number => Buffer.byteLength(JSON.stringify(value));

test("a document of many rows comes in pages that together are all of it", async () => {
  await add("a", 300);
  await bury("a");
  await add("b", 300);
  const read = await pages();
  expect(read.map(({ assignments, tombstones }) => assignments.length + tombstones.length)).toEqual([256, 256, 88]);
  expect(held(read)).toMatchObject({ digest: read[0]?.digest, names: { length: 300 } });
  expect(read.at(-1)?.next).toBeUndefined();
});

test("a page is bounded by bytes, whatever the specifications hold", async () => {
  await add("a", 30, { A: "x".repeat(60_000) });
  await add("b", 30, { A: "\u0001".repeat(10_000) });
  const read = await pages();
  for (const one of read) expect(bytesOf(one)).toBeLessThan(600 * 1024);
  expect(read.length).toBeLessThan(10);
  expect(held(read)).toMatchObject({ digest: read[0]?.digest, names: { length: 60 } });
});

test("an assignment that is larger than a page is one of its own", async () => {
  await add("a", 3, { A: "x".repeat(1_000_000) });
  expect((await pages()).map(({ assignments }) => assignments.length)).toEqual([1, 1, 1]);
});

test("what changes while pages are read comes once more, and they are the document of the last one's version", async () => {
  await add("a", 200);
  await add("b", 200);
  const read = await pages(async () => {
    await relabel("a");
    await bury("b");
    await add("c", 1);
  });
  const now = await page(null);
  expect(read.at(-1)).toMatchObject({ position: now.position, digest: now.digest });
  const { names, digest } = held(read);
  expect(digest).toBe(now.digest);
  expect(names).toHaveLength(201);
  const newest = new Map(read.flatMap((one) => one.assignments).map((each): [string, Assignment] => [each.name, each]));
  expect(newest.get("a-0")?.spec.stopGraceMs).toBe(1);
});

test("changes since a position come in pages too", async () => {
  await add("a", 10);
  const { position } = await page(null);
  await add("b", 300);
  const fetched = await fleet.control.fetchDocument(host, { have: position, after: null });
  if (fetched.kind !== "document") throw new Error(`was ${fetched.kind}`);
  const { since, assignments, next } = fetched.document;
  expect([since, assignments.length]).toEqual([position.version, 256]);
  const rest = await fleet.control.fetchDocument(host, { have: position, after: next ?? null });
  expect(rest).toMatchObject({ kind: "document", document: { since, assignments: { length: 44 } } });
});

test("pages of a document that rows have left, or of another era, are not completed", async () => {
  await add("gone", 1);
  await add("a", 300);
  const first = await page(null);
  const [gone] = first.assignments.filter(({ name }) => name === "gone-0");
  if (gone === undefined || first.next === undefined) throw new Error("not as wanted");
  await bury("gone");
  await fleet.fold(batch(host, [report(gone, 1, { state: "gone" })]));
  await fleet.control.removeOld(fleet.term, { ...defaultRetention, goneAgeMs: -1000 });
  expect(await fleet.control.fetchDocument(host, { have: null, after: first.next })).toEqual({ kind: "moved" });

  memory = undefined;
  const { next } = await page(null);
  await fleet.control.startEra({ term: fleet.term, seenEra: 1, hostId: host.hostId, reason: "test" });
  expect(await fleet.control.fetchDocument(host, { have: null, after: next ?? null })).toEqual({ kind: "moved" });
});

test("without pages everything is one answer, while it fits into a message", async () => {
  const whole = async () => {
    const fetched = await fleet.control.fetchDocument(host, { have: null });
    return fetched.kind === "document" ? fetched.document : undefined;
  };
  await add("a", 300);
  expect(await whole()).toMatchObject({ assignments: { length: 300 } });
  expect((await whole())?.next).toBeUndefined();
  await add("b", 9, { A: "x".repeat(1_000_000) });
  expect((await whole())?.next).toBeDefined();
});
