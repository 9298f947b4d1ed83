import type { LogLine } from "@bulkhead/node";
import { expect, test } from "vitest";
import { wordsOf } from "./machine-start.ts";

const log = async function* (...texts: readonly string[]): AsyncGenerator<LogLine> {
  for (const text of texts) yield { at: "", stream: "stdout", text: Buffer.from(text), complete: true };
};

test("a guest's last words are said without what only a terminal obeys", async () => {
  expect(await wordsOf(log("panic:\0 \x1b[2Jgone\r\n", "über"))).toBe(": panic:? ?[2Jgone / über");
  expect(await wordsOf(log())).toBe("");
});
