import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import {
  chooseContext,
  contextPath,
  readContexts,
  withContext,
  withoutContext,
  writeContexts,
} from "./context-file.ts";

const directory = mkdtempSync(join(tmpdir(), "bulkhead-context-"));
afterAll(() => rmSync(directory, { recursive: true }));

const local = { url: "http://127.0.0.1:7480", token: "a" };
const office = { url: "https://fleet.example", token: "b", project: "team" };
const empty = { current: null, contexts: {} };

test("the file's place: its own variable, XDG, home", () => {
  expect(contextPath({ BULKHEAD_CONTEXT_FILE: "/x/y.json", HOME: "/h" })).toBe("/x/y.json");
  expect(contextPath({ XDG_CONFIG_HOME: "/c", HOME: "/h" })).toBe("/c/bulkhead/context.json");
  expect(contextPath({ HOME: "/h" })).toBe("/h/.config/bulkhead/context.json");
});

test("a written file is read back, by its owner alone", () => {
  const path = join(directory, "deep", "context.json");
  const file = withContext(withContext(empty, "local", local, { use: false }), "office", office, { use: false });
  expect(file.current).toBe("local");
  writeContexts(path, file);
  expect(readContexts(path)).toEqual(file);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(statSync(join(directory, "deep")).mode & 0o777).toBe(0o700);
});

test("the current context goes with its removal, another one stays current", () => {
  const file = withContext(withContext(empty, "local", local, { use: true }), "office", office, { use: false });
  expect(withoutContext(file, "office")).toEqual({ current: "local", contexts: { local } });
  expect(withoutContext(file, "local")).toEqual({ current: null, contexts: { office } });
});

test("which context is used", () => {
  const path = join(directory, "choose.json");
  writeContexts(path, { current: "local", contexts: { local, office } });
  const environment = { BULKHEAD_CONTEXT_FILE: path };
  expect(chooseContext(environment, undefined)).toEqual(local);
  expect(chooseContext(environment, "office")).toEqual(office);
  const remote = { ...environment, BULKHEAD_URL: "http://other", BULKHEAD_TOKEN: "c" };
  expect(chooseContext(remote, undefined)).toEqual({ url: "http://other", token: "c" });
  expect(chooseContext(remote, "local")).toEqual(local);
});

test("what is missing is said with what to do", () => {
  const none = { BULKHEAD_CONTEXT_FILE: join(directory, "absent.json") };
  expect(() => chooseContext(none, undefined)).toThrow("npm run up");
  expect(() => chooseContext({ ...none, BULKHEAD_URL: "http://x" }, undefined)).toThrow("BULKHEAD_TOKEN");
  const path = join(directory, "choose.json");
  expect(() => chooseContext({ BULKHEAD_CONTEXT_FILE: path }, "home")).toThrow("there is: local, office");
  writeFileSync(join(directory, "broken.json"), "{");
  expect(() => chooseContext({ BULKHEAD_CONTEXT_FILE: join(directory, "broken.json") }, undefined)).toThrow(
    "cannot be read",
  );
});
