import { expect, test } from "vitest";
import { familiarName, formatReference, parseReference } from "./reference.ts";

const digest = `sha256:${"a".repeat(64)}`;

test.each([
  ["redis", "docker.io/library/redis:latest", "redis:latest"],
  ["redis:7", "docker.io/library/redis:7", "redis:7"],
  ["team/app", "docker.io/team/app:latest", "team/app:latest"],
  ["index.docker.io/team/app:1", "docker.io/team/app:1", "team/app:1"],
  ["registry.example.com/app:1.2", "registry.example.com/app:1.2", "registry.example.com/app:1.2"],
  ["localhost/app", "localhost/app:latest", "localhost/app:latest"],
  ["localhost:5000/a/b/c:x", "localhost:5000/a/b/c:x", "localhost:5000/a/b/c:x"],
  ["127.0.0.1:5000/app", "127.0.0.1:5000/app:latest", "127.0.0.1:5000/app:latest"],
  ["[::1]:5000/app", "[::1]:5000/app:latest", "[::1]:5000/app:latest"],
  ["Registry.Example.com/app", "registry.example.com/app:latest", "registry.example.com/app:latest"],
  [`app:1@${digest}`, `docker.io/library/app:1@${digest}`, "app:1"],
  [`r.example/app@${digest}`, `r.example/app@${digest}`, undefined],
])("%s is %s", (text, whole, name) => {
  const parsed = parseReference(text);
  expect(formatReference(parsed)).toBe(whole);
  expect(familiarName(parsed)).toBe(name);
  expect(parseReference(formatReference(parsed))).toEqual(parsed);
});

test.each([
  "",
  "UPPER/case",
  "app:",
  "app:-x",
  "app@sha256:12",
  "app@md5:abc",
  "https://registry.example.com/app",
  "registry.example.com/",
  "registry.example.com/../etc",
  "registry.example.com//app",
  "a:b:c/app",
  "registry.example.com:5000000/app",
  "user:secret@registry.example.com/app",
  "app name",
  `app:${"t".repeat(129)}`,
  "a".repeat(600),
])("%j is refused, with a pointer", (text) => {
  expect(() => parseReference(text)).toThrow(
    expect.objectContaining({
      code: "REQUEST_INVALID",
      fields: { errors: [expect.objectContaining({ pointer: "/reference" })] },
    }),
  );
});
