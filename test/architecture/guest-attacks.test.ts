// The table of what hostile guests try, in native/kvm/test/README.md, and the tests of the monitor are held to each other.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

const folder = join(import.meta.dirname, "../../native/kvm/test");
const vulnerability = /CVE-\d{4}-\d{4,}/g;
/** Files all of whose tests are attacks. */
const hostile = [
  "hostile_guest_test.cc",
  "register_test.cc",
  "ring_test.cc",
  "snapshot_hostile_test.cc",
  "vsock_hostile_test.cc",
];

const readme = readFileSync(join(folder, "README.md"), "utf8");
const [table = "", notTried = ""] = readme.split("\nNot tried");
const rows = table
  .split("\n")
  .filter((line) => line.startsWith("| ") && !line.startsWith("| attack"))
  .map((line) => line.split(" | "))
  .map(([attack = "", tried = ""]) => ({ attack, tried }));

const testsOf = (file: string): string[] =>
  [...readFileSync(join(folder, file), "utf8").matchAll(/^TEST\((\w+)\)/gm)].map(([, name = ""]) => name);

/** Every test that a row names, with the file that it stands behind. */
const named = rows.flatMap(({ attack, tried }) => {
  let file = "";
  return [...tried.matchAll(/`([\w.]+)`/g)].flatMap(([, word = ""]) => {
    if (word.endsWith(".cc")) file = word;
    return word.endsWith(".cc") ? [] : [{ attack, file, name: word }];
  });
});

test("each row names tests, and each of them stands in the file that the row says", () => {
  expect(rows.length).toBeGreaterThan(25);
  expect(rows.filter(({ attack }) => !named.some((each) => each.attack === attack))).toEqual([]);
  expect(named.filter(({ file, name }) => !testsOf(file).includes(name))).toEqual([]);
});

test("each attack that is tried stands in the table", () => {
  const known = named.map(({ name }) => name);
  expect(hostile.flatMap(testsOf).filter((name) => !known.includes(name))).toEqual([]);
});

test("each vulnerability stands in one place", () => {
  const listed: string[] = table.match(vulnerability) ?? [];
  expect(listed.filter((id, index) => listed.indexOf(id) !== index)).toEqual([]);
  expect(listed.filter((id) => notTried.includes(id))).toEqual([]);
});
