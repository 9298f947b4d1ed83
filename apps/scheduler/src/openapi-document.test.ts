import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { openApiDocument } from "./openapi-document.ts";

interface Document {
  readonly openapi: string;
  readonly paths: Record<string, Record<string, { operationId?: string; responses: Record<string, unknown> }>>;
  readonly components: { readonly schemas: Record<string, unknown> };
}

const document = (await openApiDocument()) as Document;

test("docs/openapi/scheduler.json is what the routes say", () => {
  const file = new URL("../../../docs/openapi/scheduler.json", import.meta.url);
  expect(JSON.parse(readFileSync(file, "utf8"))).toEqual(JSON.parse(JSON.stringify(document)));
});

test("every reference leads somewhere", () => {
  expect(document.openapi).toBe("3.1.0");
  const references = [...JSON.stringify(document).matchAll(/"\$ref":"([^"]+)"/g)].map(
    ([, reference = ""]) => reference,
  );
  expect(references.length).toBeGreaterThan(20);
  for (const reference of references) {
    const name = reference.replace("#/components/schemas/", "");
    expect(Object.keys(document.components.schemas)).toContain(name);
  }
});

test("every operation has a name of its own and can end in a problem", () => {
  const operations = Object.entries(document.paths)
    .filter(([path]) => !["/healthz", "/readyz"].includes(path))
    .flatMap(([, methods]) => Object.entries(methods).filter(([method]) => method !== "head"));
  const names = operations.map(([, { operationId }]) => operationId);
  expect(names).not.toContain(undefined);
  expect(new Set(names).size).toBe(names.length);
  for (const [, { responses }] of operations)
    expect(Object.keys(responses)).toEqual(expect.arrayContaining(["4XX", "5XX"]));
});
