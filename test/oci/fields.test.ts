// The page's table of fields is true: each has an example here, and each example does what the table says.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { fields } from "./fields.ts";
import { Place } from "./runtime.ts";

const page = readFileSync(new URL("../../docs/oci.md", import.meta.url), "utf8");
const rows = page
  .slice(page.indexOf("## Fields of the specification"))
  .split("\n")
  .flatMap((line) => {
    const [, field, state] = /^\| `?([^`|]+?)`? \| (done|ignored|refused)\b.* \|$/.exec(line) ?? [];
    return field === undefined || state === undefined ? [] : [{ field, state }];
  });

test("every field of the table has an example, and every example its row", () => {
  expect(rows.map(({ field }) => field)).toEqual(Object.keys(fields));
});

test.each(rows)("$field is $state", async ({ field, state }) => {
  await using place = new Place();
  const bundle = place.bundle(["true"], fields[field]);
  const { status, stderr } = await place.run(["--debug", "run", "--bundle", bundle, "one"]);
  expect({ status, stderr }).toEqual({
    status: state === "refused" ? 1 : 0,
    stderr: expect.stringMatching(
      { done: /^$/, ignored: /level=debug msg="\S+ \S+/, refused: /config.json: \// }[state]!,
    ),
  });
});
