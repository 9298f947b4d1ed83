import { mkdtempDisposable, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Type } from "typebox";
import { expect, test } from "vitest";
import { RecordDirectory } from "./record-directory.ts";

const Thing = Type.Object({ size: Type.Integer() });
const temporary = () => mkdtempDisposable("/tmp/bulkhead-host-records-");
const at = ({ path }: { readonly path: string }) => new RecordDirectory(join(path, "things"), Thing);

test("a record that one agent writes or removes the other sees", async () => {
  await using directory = await temporary();
  const [one, other] = [at(directory), at(directory)];
  one.put("a", { size: 1 });
  one.put("b", { size: 2 });
  expect(Object.fromEntries(other.all())).toEqual({ a: { size: 1 }, b: { size: 2 } });
  other.remove("a");
  expect([...one.all().keys()]).toEqual(["b"]);
  one.remove("a");
});

test("a draft is no record until it is kept, and none again once it is retracted", async () => {
  await using directory = await temporary();
  const things = at(directory);
  const seen = () => ({ records: [...things.all().keys()], drafts: things.drafts() });
  things.draft("a", { size: 1 });
  expect(seen()).toEqual({ records: [], drafts: ["a"] });
  things.keep("a");
  expect(seen()).toEqual({ records: ["a"], drafts: [] });
  things.retract("a");
  expect(seen()).toEqual({ records: [], drafts: ["a"] });
  things.remove("a");
  expect(seen()).toEqual({ records: [], drafts: [] });
});

test("what was cut by a crash or is of another form is no record, and goes when all is cleared", async () => {
  await using directory = await temporary();
  const things = at(directory);
  things.put("whole", { size: 1 });
  things.draft("half", { size: 2 });
  await writeFile(join(directory.path, "things", "cut"), '{"size":');
  await writeFile(join(directory.path, "things", "other"), '{"length":1}');
  expect([...things.all().keys()]).toEqual(["whole"]);
  things.clear();
  expect(await readdir(join(directory.path, "things"))).toEqual([]);
  expect(things.all().size).toBe(0);
});

test("a directory that was given up holds nothing", async () => {
  await using directory = await temporary();
  const things = at(directory);
  things.put("a", { size: 1 });
  await rm(join(directory.path, "things"), { recursive: true });
  expect(things.all().size).toBe(0);
  expect(things.drafts()).toEqual([]);
  things.clear();
});

test("what a draft says can be read, and one that was cut says nothing", async () => {
  await using directory = await temporary();
  const [one, other] = [at(directory), at(directory)];
  one.put("a", { size: 1 });
  one.retract("a");
  await writeFile(join(directory.path, "things", ".cut"), '{"size":');
  expect(other.drafts().toSorted()).toEqual(["a", "cut"]);
  expect([other.draftOf("a"), other.draftOf("cut"), other.draftOf("none")]).toEqual([
    { size: 1 },
    undefined,
    undefined,
  ]);
  expect(one.all().size).toBe(0);
});
