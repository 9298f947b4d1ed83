import { mkdtempDisposable, readFile, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { CpuLedger } from "./cpu-ledger.ts";

const online = [0, 1];
const nothing = { groups: {}, users: [], shared: online, before: null };

test("each change is news to everybody, however fast they follow each other", async () => {
  await using directory = await mkdtempDisposable("/tmp/bulkhead-ledger-");
  const [writer, reader] = [new CpuLedger(directory.path, online), new CpuLedger(directory.path, online)];
  expect(reader.now).toMatchObject({ change: 0, ...nothing });
  for (let change = 1; change <= 200; change += 1) {
    writer.write({ ...nothing, shared: [change % 2] });
    expect([reader.now.change, reader.now.shared]).toEqual([change, [change % 2]]);
  }
  reader.write(nothing);
  expect(writer.now).toMatchObject({ change: 201, ...nothing });
});

test("what another boot or nobody sensible wrote says nothing, and is written over", async () => {
  await using directory = await mkdtempDisposable("/tmp/bulkhead-ledger-");
  const path = join(directory.path, "partition.json");
  new CpuLedger(directory.path, online).write({ ...nothing, shared: [1] });
  const written = await readFile(path, "utf8");
  const { bootId } = JSON.parse(written) as { bootId: string };
  for (const text of [written.replace(bootId, "earlier"), written.slice(0, 40), "[]"]) {
    await writeFile(path, text);
    const ledger = new CpuLedger(directory.path, online);
    expect(ledger.now).toMatchObject(nothing);
    ledger.write({ ...nothing, shared: [0] });
    expect(new CpuLedger(directory.path, online).now.shared).toEqual([0]);
    await writeFile(path, written);
  }
});

test("what another version wrote in this boot is not understood, and said to be so until it is gone", async () => {
  await using directory = await mkdtempDisposable("/tmp/bulkhead-ledger-");
  const path = join(directory.path, "partition.json");
  new CpuLedger(directory.path, online).write({ ...nothing, shared: [1] });
  const written = await readFile(path, "utf8");
  for (const [at, text] of [written.replace('"version":1', '"version":2'), written.replace("[1]", '"1"')].entries()) {
    const ledger = new CpuLedger(directory.path, online);
    expect(ledger.problem).toBeNull();
    await writeFile(path, text);
    await utimes(path, 1000 + at, 1000 + at);
    expect(ledger.problem).toMatch(/^\/tmp\/.*partition\.json was written by another version/);
    expect(ledger.now).toMatchObject({ change: 1000 + at, ...nothing });
    await writeFile(path, written);
    await utimes(path, 2000, 2000);
    expect([ledger.problem, ledger.now.shared]).toEqual([null, [1]]);
  }
  // The first version said none of itself.
  await writeFile(path, written.replace('"version":1,', ""));
  expect(new CpuLedger(directory.path, online)).toMatchObject({ problem: null, now: { shared: [1] } });
});
