// The table of attacks in test/security/README.md says which test tries each one: both are held to it.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

const root = join(import.meta.dirname, "../..");
const folder = join(root, "test/security");
const vulnerability = /CVE-\d{4}-\d{4,}/g;

const [table = "", notTried = ""] = readFileSync(join(folder, "README.md"), "utf8").split("\nNot tried");
const rows = table
  .split("\n")
  .filter((line) => line.startsWith("| ") && !line.startsWith("| what went wrong"))
  .map((line) => line.split(" | "))
  .map(([attack = "", tried = ""]) => ({ attack, tried }));

/** Programs and tests that a row names: beside the table, or by their path in the repository. */
const filesOf = (tried: string): string[] =>
  [...tried.matchAll(/`([\w/.-]+\.(?:test\.ts|c|cc))`/g)].map(([, name = ""]) =>
    join(name.startsWith("native/") ? root : folder, name),
  );
/** A title of a test, a group of tests or a case: what a report of them shows. */
const titled = (text: string): Set<string> =>
  new Set(
    [...text.matchAll(/(?:test|describe)\w*(?:\.\w+(?:<.*>)?\([^"`]*\))?\(\s*["`]([^"`]*)/g)].flatMap(
      ([, title = ""]) => title.match(vulnerability) ?? [],
    ),
  );

test("each row names files that there are, and each vulnerability in it stands in a title there", () => {
  expect(rows.length).toBeGreaterThan(15);
  const missing = rows.flatMap(({ attack, tried }) => {
    const sources = filesOf(tried).map((path) => readFileSync(path, "utf8"));
    if (sources.length === 0) return [attack];
    const known = new Set(
      sources.flatMap((source) => [...titled(source), ...(source.match(/^\/\/.*$/m)?.[0].match(vulnerability) ?? [])]),
    );
    return (attack.match(vulnerability) ?? []).filter((id) => !known.has(id));
  });
  expect(missing).toEqual([]);
});

test("each vulnerability that a test names stands in the table, once", () => {
  const named = readdirSync(folder)
    .filter((name) => name.endsWith(".test.ts"))
    .flatMap((name) => readFileSync(join(folder, name), "utf8").match(vulnerability) ?? []);
  const listed = rows.flatMap(({ attack }) => attack.match(vulnerability) ?? []);
  expect([...new Set(named)].filter((id) => !listed.includes(id))).toEqual([]);
  expect(listed.filter((id, index) => listed.indexOf(id) !== index)).toEqual([]);
  expect(listed.filter((id) => notTried.includes(id))).toEqual([]);
});
