import { expect, test } from "vitest";
import { parseChallenges } from "./challenge.ts";

const plain = (header: string) => parseChallenges(header).map(({ scheme, parameters }) => ({ scheme, ...parameters }));

test.each([
  [
    'Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a/b:pull,push"',
    [
      {
        scheme: "bearer",
        realm: "https://auth.example/token",
        service: "registry.example",
        scope: "repository:a/b:pull,push",
      },
    ],
  ],
  ['Basic realm="Registry Realm"', [{ scheme: "basic", realm: "Registry Realm" }]],
  [
    'basic REALM=x , Bearer realm = "y"',
    [
      { scheme: "basic", realm: "x" },
      { scheme: "bearer", realm: "y" },
    ],
  ],
  [
    'Negotiate, Basic realm="a \\"quoted\\" word"',
    [{ scheme: "negotiate" }, { scheme: "basic", realm: 'a "quoted" word' }],
  ],
  ['Bearer __proto__="x"', [{ scheme: "bearer", ["__proto__"]: "x" }]],
  ["", []],
  ['"', []],
  ['Bearer realm="never closed', [{ scheme: "bearer" }, { scheme: "realm" }]],
])("%s", (header, expected) => {
  expect(plain(header)).toEqual(expected.map((entry) => ({ ...entry })));
});

test("a header of any length is read in bounded time", () => {
  const began = performance.now();
  expect(parseChallenges(`Bearer ${"a".repeat(5_000_000)}`)).toHaveLength(2);
  parseChallenges(`Bearer ${'a="\\'.repeat(100_000)}`);
  expect(performance.now() - began).toBeLessThan(1_000);
});
