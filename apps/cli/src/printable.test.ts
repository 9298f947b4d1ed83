import { expect, test } from "vitest";
import { formatTable } from "./output.ts";
import { printable } from "./printable.ts";

test("nothing that an instance is called or says commands the terminal", () => {
  expect(printable("a\u001b[2Jb\u009b1Ac\rd\u0007\u007f")).toBe("a\\x1b[2Jb\\x9b1Ac\\x0dd\\x07\\x7f");
  expect(printable("one\n\ttwo ü 漢 😀\n")).toBe("one\n\ttwo ü 漢 😀\n");
});

test("a cell stays in its row", () => {
  const columns = [{ title: "WHY", value: String }];
  expect(formatTable(columns, ["a\nINSTANCE  forged\u001b]0;x\u0007"])).toBe("WHY\na INSTANCE  forged\\x1b]0;x\\x07\n");
});
