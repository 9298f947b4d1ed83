import { existsSync } from "node:fs";
import {
  appendFile,
  copyFile,
  mkdir,
  mkdtempDisposable,
  open,
  readdir,
  rename,
  symlink,
  truncate,
  unlink,
  utimes,
  writeFile,
} from "node:fs/promises";
import { join, relative } from "node:path";
import type { SnapshotId } from "@bulkhead/contracts";
import { expect, test } from "vitest";
import type { SnapshotRecord } from "./snapshot-record.ts";
import { digestOf } from "../disk/file-digest.ts";
import { machineAssignment } from "../testing/machine-assignment.ts";
import type { SnapshotPlace } from "./snapshot-place.ts";
import { SnapshotStore } from "./snapshot-store.ts";

const id = "0198c0de-4444-7000-8000-000000000001" as SnapshotId;

const assignment = machineAssignment();

const written = async (path: string) => {
  await using file = await open(path);
  return { sizeBytes: 7, digest: await digestOf(file) };
};

const fill = async (draft: SnapshotPlace): Promise<SnapshotRecord> => {
  for (const path of [draft.state, draft.memory, draft.disk, draft.image]) await writeFile(path, "content");
  const record: SnapshotRecord = {
    version: 2,
    snapshotId: id,
    taken: { engine: "kvm", sizeBytes: 21, stoodStillMs: 1 },
    assignment,
    process: { args: ["sleep"], env: [], cwd: "/", user: "0:0", stopSignal: 15 },
    files: {
      state: await written(draft.state),
      memory: await written(draft.memory),
      disk: await written(draft.disk),
      image: { sizeBytes: 7 },
    },
    settingsBytes: 512,
  };
  await writeFile(draft.record, JSON.stringify(record));
  return record;
};

const replacedByLink = async ({ image, disk }: SnapshotPlace): Promise<void> => {
  await unlink(image);
  await symlink(disk, image);
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
  const [first, second] = await Promise.all([at.store.make(id, 1, once), at.store.make(id, 1, once)]);
  expect(await at.store.make(id, 1, once)).toEqual(first);
  expect([second, fills]).toEqual([first, 1]);
  const { record, place } = await at.store.open(id);
  expect([record, place.memory]).toEqual([first, join(at.root, id, "memory")]);
  expect((await at.store.list()).map((record) => record.assignment.imageDigest)).toEqual([assignment.imageDigest]);
  await at.store.remove(id);
  await at.store.remove(id);
  await expect(at.store.open(id)).rejects.toMatchObject({ code: "NOT_FOUND" });
  expect(await readdir(at.root)).toEqual([]);
});

test("all of it is on disk before it has its name, and its name before anybody is told", async () => {
  await using at = await stage();
  const synced: string[] = [];
  const store = new SnapshotStore(at.root, async (path) => {
    expect(existsSync(path)).toBe(true);
    synced.push(relative(at.root, path));
  });
  await store.make(id, 1, fill);
  const draft = `${id}.making`;
  const files = ["state", "memory", "disk", "image", "record.json"].map((name) => `${draft}/${name}`);
  expect(synced).toEqual([...files, draft, ""]);
  const failing = new SnapshotStore(join(at.root, "other"), () => Promise.reject(new Error("ENOSPC: no space left")));
  await expect(failing.make(id, 1, fill)).rejects.toMatchObject({ code: "SNAPSHOT_NO_ROOM" });
  expect(await readdir(join(at.root, "other"))).toEqual([]);
});

test("one that fails leaves nothing, and what a killed agent left is removed", async () => {
  await using at = await stage();
  const failing = at.store.make(id, 1, async (draft) => {
    await fill(draft);
    throw new Error("no");
  });
  await expect(failing).rejects.toThrow("no");
  expect(await readdir(at.root)).toEqual([]);
  await mkdir(join(at.root, `${id}.making`));
  expect((await at.store.list()).map((record) => record.assignment.imageDigest)).toEqual([]);
  await at.store.sweep();
  expect(await readdir(at.root)).toEqual([]);
});

test.each<[string, (place: SnapshotPlace) => Promise<void>, RegExp]>([
  ["a memory that became shorter", ({ memory }) => truncate(memory, 3), /its memory has 3 bytes, of 7/],
  ["a disk that grew", ({ disk }) => appendFile(disk, "more"), /its disk has 11 bytes, of 7/],
  ["a state that says something else", ({ state }) => writeFile(state, "CONTENT"), /its state is not what was written/],
  ["a memory with one bit flipped", ({ memory }) => writeFile(memory, "conteNt"), /its memory is not what was written/],
  ["a disk with one bit flipped", ({ disk }) => writeFile(disk, "contenT"), /its disk is not what was written/],
  ["a link in the place of an image", replacedByLink, /its image cannot be opened: ELOOP/],
  ["a memory that is not there", ({ memory }) => unlink(memory), /its memory cannot be opened: ENOENT/],
  ["a record that is none", ({ record }) => writeFile(record, "{"), /its record is damaged, or of another version/],
])("%s is not opened, and it is said which", async (_, change, message) => {
  await using at = await stage();
  await at.store.make(id, 1, fill);
  await change((await at.store.open(id)).place);
  const refusal = { code: "SNAPSHOT_CORRUPT", message: expect.stringMatching(message) as string };
  await expect(at.store.open(id)).rejects.toMatchObject(refusal);
  await expect(new SnapshotStore(at.root).open(id)).rejects.toMatchObject(refusal);
  await expect(at.store.verify(id)).rejects.toMatchObject(refusal);
  await at.store.remove(id);
  await expect(at.store.open(id)).rejects.toMatchObject({ code: "NOT_FOUND" });
});

test("files that were verified are only recognised, and read again when that is asked for", async () => {
  await using at = await stage();
  await at.store.make(id, 1, fill);
  const { memory } = (await at.store.open(id)).place;
  const second = new Date("2026-01-01T00:00:00Z");
  await utimes(memory, second, second);
  await at.store.open(id);
  // As a disk does that forgets: nothing else about the file tells.
  await writeFile(memory, "conteNt");
  await utimes(memory, second, second);
  await at.store.open(id);
  await expect(at.store.verify(id)).rejects.toMatchObject({ code: "SNAPSHOT_CORRUPT" });
  await expect(at.store.open(id)).rejects.toMatchObject({ code: "SNAPSHOT_CORRUPT" });
});

test("who verifies hears how much of all files was read", async () => {
  await using at = await stage();
  await at.store.make(id, 1, fill);
  const told: number[][] = [];
  const hear = ({ readBytes, totalBytes }: { readBytes: number; totalBytes: number }) =>
    void told.push([readBytes, totalBytes]);
  await Promise.all([at.store.verify(id, hear), at.store.verify(id, hear)]);
  const both = [7, 14, 21].flatMap((readBytes) => [
    [readBytes, 21],
    [readBytes, 21],
  ]);
  expect(told).toEqual(both);
});

test("files that are others, with the same in them, are read again and taken", async () => {
  await using at = await stage();
  const made = await at.store.make(id, 1, fill);
  const { memory } = (await at.store.open(id)).place;
  await copyFile(memory, `${memory}.copy`);
  await rename(`${memory}.copy`, memory);
  expect((await at.store.open(id)).record).toEqual(made);
});

test("another's record is no record", async () => {
  await using at = await stage();
  const made = await at.store.make(id, 1, fill);
  const other = { ...made, snapshotId: "0198c0de-4444-7000-8000-000000000002" };
  await writeFile(join(at.root, id, "record.json"), JSON.stringify(other));
  expect(await at.store.read(id)).toBeNull();
  await expect(at.store.open(id)).rejects.toMatchObject({ code: "SNAPSHOT_CORRUPT" });
});
