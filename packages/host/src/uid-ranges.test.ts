import { mkdtempDisposable, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { InstanceId } from "@bulkhead/contracts";
import { expect, test } from "vitest";
import { firstRangeId, idsPerRange, parseSubordinateIds, rangeCount, UidRanges } from "./uid-ranges.ts";

const id = (name: string): InstanceId => name as InstanceId;
const temporary = () => mkdtempDisposable("/tmp/bulkhead-host-uid-");

test("each instance gets a range of its own and always the same one", async () => {
  await using directory = await temporary();
  const ranges = await UidRanges.open(directory.path, "00000000", []);
  const first = ranges.allocate(id("a"));
  expect(first).toEqual({ firstId: firstRangeId, ids: idsPerRange });
  expect(ranges.allocate(id("b")).firstId).toBe(firstRangeId + idsPerRange);
  expect(ranges.allocate(id("a"))).toEqual(first);
  expect(ranges.taken).toBe(2);
});

test("ranges are remembered on disk", async () => {
  await using directory = await temporary();
  const before = (await UidRanges.open(directory.path, "00000003", [])).allocate(id("a"));
  const reopened = await UidRanges.open(directory.path, "00000000", []);
  expect(reopened.allocate(id("a"))).toEqual(before);
  reopened.free(id("a"));
  expect((await UidRanges.open(directory.path, "00000000", [])).taken).toBe(0);
});

test("two allocators on one directory never give the same range", async () => {
  await using directory = await temporary();
  const [left, right] = await Promise.all([
    UidRanges.open(directory.path, "00000000", []),
    UidRanges.open(directory.path, "00000000", []),
  ]);
  const given = Array.from({ length: 40 }, (_, n) => (n % 2 === 0 ? left : right).allocate(id(`i${n}`)));
  expect(new Set(given.map(({ firstId }) => firstId)).size).toBe(40);
});

test("a freed range is given again without a new file, and to one of two allocators only", async () => {
  await using directory = await temporary();
  const left = await UidRanges.open(directory.path, "00000000", []);
  const first = left.allocate(id("a"));
  left.free(id("a"));
  const right = await UidRanges.open(directory.path, "00000000", []);
  const before = await stat(join(directory.path, "0"));
  expect(left.allocate(id("b"))).toEqual(first);
  expect((await stat(join(directory.path, "0@b"))).ino).toBe(before.ino);
  expect(right.allocate(id("c")).firstId).toBe(firstRangeId + idsPerRange);
  expect((await UidRanges.open(directory.path, "00000000", [])).holders().sort()).toEqual(["b", "c"]);
});

test("a range whose opening was cut off is given to nobody else", async () => {
  await using directory = await temporary();
  await UidRanges.open(directory.path, "00000000", []);
  await writeFile(join(directory.path, "opened", "0"), "");
  const ranges = await UidRanges.open(directory.path, "00000000", []);
  expect(ranges.allocate(id("a")).firstId).toBe(firstRangeId + idsPerRange);
});

test("ranges of /etc/subuid are left alone", async () => {
  await using directory = await temporary();
  const subuid = join(directory.path, "subuid");
  await writeFile(
    subuid,
    `alice:${firstRangeId + 10}:1\nnot a line\nbob:${firstRangeId + idsPerRange}:${idsPerRange}\n`,
  );
  const ranges = await UidRanges.open(join(directory.path, "ranges"), "00000000", [
    subuid,
    join(directory.path, "none"),
  ]);
  expect(ranges.allocate(id("a")).firstId).toBe(firstRangeId + 2 * idsPerRange);
});

test("when every range is foreign the answer is NO_CAPACITY", async () => {
  await using directory = await temporary();
  const subuid = join(directory.path, "subuid");
  await writeFile(subuid, `all:${firstRangeId}:${rangeCount * idsPerRange}\n`);
  const ranges = await UidRanges.open(join(directory.path, "ranges"), "00000000", [subuid]);
  expect(() => ranges.allocate(id("a"))).toThrow(expect.objectContaining({ code: "NO_CAPACITY" }));
});

test("malformed subordinate id lines are ignored", () => {
  expect(parseSubordinateIds("a:1:2\n#c\nb:x:2\nc:1\n")).toEqual([{ firstId: 1, ids: 2 }]);
});
