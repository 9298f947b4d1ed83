import { appendFile, mkdir, mkdtempDisposable, readdir, symlink, truncate, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Assignment, Digest, InstanceId, SnapshotId, WorkloadId } from "@bulkhead/contracts";
import { expect, test } from "vitest";
import type { SnapshotRecord } from "./snapshot-record.ts";
import { digestOfState, SnapshotStore, type SnapshotPlace } from "./snapshot-store.ts";

const id = "0198c0de-4444-7000-8000-000000000001" as SnapshotId;

const assignment: Assignment = {
  instanceId: "0198c0de-0000-7000-8000-000000000001" as InstanceId,
  workloadId: "0198c0de-3333-7000-8000-000000000001" as WorkloadId,
  project: "default",
  name: "web-0",
  isolation: "vm",
  generation: 1,
  epoch: { era: 1, n: 1 },
  desired: "running",
  restartRequest: 0,
  imageDigest: `sha256:${"0".repeat(64)}` as Digest,
  spec: { image: "app", resources: { cpuMillis: 1000, memoryBytes: 2 ** 28 } },
  cpuIds: [],
};

const fill = async (draft: SnapshotPlace): Promise<SnapshotRecord> => {
  for (const path of [draft.state, draft.memory, draft.disk, draft.image]) await writeFile(path, "content");
  const record: SnapshotRecord = {
    version: 1,
    snapshotId: id,
    taken: { engine: "kvm", sizeBytes: 21, stoodStillMs: 1 },
    assignment,
    process: { args: ["sleep"], env: [], cwd: "/", user: "0:0", stopSignal: 15 },
    stateSha256: await digestOfState(draft.state),
    stateBytes: 7,
    memoryBytes: 7,
    diskBytes: 7,
    imageBytes: 7,
    settingsBytes: 512,
  };
  await writeFile(draft.record, JSON.stringify(record));
  return record;
};

const stage = async () => {
  const directory = await mkdtempDisposable("/tmp/bulkhead-snapshots-");
  const root = join(directory.path, "snapshots");
  return { root, store: new SnapshotStore(root), [Symbol.asyncDispose]: () => directory[Symbol.asyncDispose]() };
};

test("a snapshot is made once, opened as it was made, and removed", async () => {
  await using at = await stage();
  let fills = 0;
  const once = (draft: SnapshotPlace): Promise<SnapshotRecord> => {
    fills += 1;
    return fill(draft);
  };
  const [first, second] = await Promise.all([at.store.make(id, once), at.store.make(id, once)]);
  expect(await at.store.make(id, once)).toEqual(first);
  expect([second, fills]).toEqual([first, 1]);
  const { record, place } = await at.store.open(id);
  expect([record, place.memory]).toEqual([first, join(at.root, id, "memory")]);
  expect(await at.store.images()).toEqual([assignment.imageDigest]);
  await at.store.remove(id);
  await at.store.remove(id);
  await expect(at.store.open(id)).rejects.toMatchObject({ code: "NOT_FOUND" });
  expect(await readdir(at.root)).toEqual([]);
});

test("one that fails leaves nothing, and what a killed agent left is removed", async () => {
  await using at = await stage();
  const failing = at.store.make(id, async (draft) => {
    await fill(draft);
    throw new Error("no");
  });
  await expect(failing).rejects.toThrow("no");
  expect(await readdir(at.root)).toEqual([]);
  await mkdir(join(at.root, `${id}.making`));
  expect(await at.store.images()).toEqual([]);
  expect(await readdir(at.root)).toEqual([]);
});

test.each<[string, (place: SnapshotPlace) => Promise<void>]>([
  ["a memory that became shorter", ({ memory }) => truncate(memory, 3)],
  ["a disk that grew", ({ disk }) => appendFile(disk, "more")],
  ["a state that says something else", ({ state }) => writeFile(state, "CONTENT")],
  [
    "a link in the place of an image",
    async ({ image, disk }) => {
      await unlink(image);
      await symlink(disk, image);
    },
  ],
  ["a memory that is not there", ({ memory }) => unlink(memory)],
])("%s is not opened", async (_, change) => {
  await using at = await stage();
  await at.store.make(id, fill);
  await change((await at.store.open(id)).place);
  await expect(at.store.open(id)).rejects.toMatchObject({ code: "RUNTIME_FAILED" });
});

test.each([
  ["no JSON", "{"],
  ["another's record", JSON.stringify({ version: 1, snapshotId: "0198c0de-4444-7000-8000-000000000002" })],
])("%s is no record", async (_, text) => {
  await using at = await stage();
  await at.store.make(id, fill);
  await writeFile(join(at.root, id, "record.json"), text);
  expect(await at.store.read(id)).toBeNull();
  await expect(at.store.open(id)).rejects.toMatchObject({ code: "NOT_FOUND" });
});

test("a state file that is too long to be one is not read", async () => {
  await using at = await stage();
  await mkdir(at.root);
  const path = join(at.root, "state");
  await writeFile(path, "");
  await truncate(path, 8 * 2 ** 20 + 1);
  await expect(digestOfState(path)).rejects.toMatchObject({ code: "RUNTIME_FAILED" });
});
