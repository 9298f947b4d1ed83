import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Invocation, OptionValues } from "../command.ts";
import { login, logout } from "./registry.ts";

let state: string;
beforeEach(async () => {
  state = await mkdtemp(join(tmpdir(), "bulkhead-registry-"));
  await mkdir(join(state, "control/registry"), { recursive: true });
  await writeFile(join(state, "password"), "correct horse\n");
});
afterEach(() => rm(state, { recursive: true, force: true }));

const authFile = () => join(state, "control/registry/auth.json");

const invoke = (registry: string, options: Record<string, string> = {}) => {
  const printed: string[] = [];
  const invocation = {
    positionals: [registry],
    options: new OptionValues({ "password-file": join(state, "password"), username: "ann", ...options }),
    environment: { BULKHEAD_STATE_DIR: state },
    print: (text: string) => printed.push(text),
  } as unknown as Invocation;
  return { invocation, printed };
};

test("a login is kept for the scheduler alone, beside others, and can be forgotten", async () => {
  const first = invoke("registry.example:5000");
  await login(first.invocation);
  await login(invoke("other.example").invocation);
  expect(first.printed.join("")).not.toContain("horse");
  expect((await stat(authFile())).mode & 0o777).toBe(0o600);
  const auth = Buffer.from("ann:correct horse").toString("base64");
  expect(JSON.parse(await readFile(authFile(), "utf8"))).toEqual({
    auths: { "registry.example:5000": { auth }, "other.example": { auth } },
  });
  await logout(invoke("registry.example:5000").invocation);
  expect(JSON.parse(await readFile(authFile(), "utf8"))).toEqual({ auths: { "other.example": { auth } } });
  await expect(logout(invoke("registry.example:5000").invocation)).rejects.toMatchObject({ code: "NOT_FOUND" });
});

test.each([
  ["a path", "registry.example/app", {}],
  ["no host", "registry", {}],
  ["a name with a colon", "registry.example", { username: "a:b" }],
])("%s is a usage error, and nothing is written", async (_, registry, options) => {
  await expect(login(invoke(registry, options).invocation)).rejects.toMatchObject({ name: "UsageError" });
  await expect(stat(authFile())).rejects.toMatchObject({ code: "ENOENT" });
});

test("an empty password is a usage error", async () => {
  await writeFile(join(state, "password"), "\n");
  await expect(login(invoke("registry.example").invocation)).rejects.toMatchObject({ name: "UsageError" });
});

test("without a fleet, or with a damaged file, it says what to do", async () => {
  await writeFile(authFile(), "{");
  await expect(login(invoke("registry.example").invocation)).rejects.toMatchObject({ code: "CONFIG_INVALID" });
  await rm(join(state, "control"), { recursive: true });
  await expect(login(invoke("registry.example").invocation)).rejects.toMatchObject({
    code: "SETUP_FAILED",
    message: expect.stringContaining("bulkhead up"),
  });
});
