import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { pages } from "../scripts/pages.ts";
import { errors } from "./errors.ts";
import { metrics } from "./metrics.ts";
import { subjects } from "./subjects.ts";

const page = (file: string): string => readFileSync(new URL(`../../../docs/${file}`, import.meta.url), "utf8");

const found = (text: string, pattern: RegExp): string[] => [...text.matchAll(pattern)].map(([, name = ""]) => name);

describe("generated pages and catalogues name the same, both ways", () => {
  test("errors", () => {
    expect(found(page("errors.md"), /^## ([A-Z_]+)$/gm)).toEqual(Object.keys(errors));
  });

  test("metrics", () => {
    expect(found(page("metrics.md"), /^\| `([a-z0-9._]+)` \|/gm)).toEqual(
      Object.values(metrics).map(({ name }) => name),
    );
  });

  test("subjects", () => {
    expect(found(page("subjects.md"), /^\| [A-Za-z]+ \| `([^`]+)` \|/gm)).toEqual(
      Object.values(subjects).map(({ pattern }) => pattern),
    );
  });

  test.each(pages())("$file is what would be written now", ({ file, text }) => {
    expect(page(file)).toBe(text);
  });
});
