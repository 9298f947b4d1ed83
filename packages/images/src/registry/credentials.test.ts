import { inspect } from "node:util";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { RegistryCredentials } from "./credentials.ts";
import { RegistrySettings } from "./settings.ts";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "bulkhead-credentials-"));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const write = async (content: unknown, mode = 0o600): Promise<string> => {
  const file = join(directory, "auth.json");
  await writeFile(file, typeof content === "string" ? content : JSON.stringify(content), { mode });
  return file;
};

const secret = Buffer.from("ann:hunter2").toString("base64");

test("a registry is found however its key is written", async () => {
  const auths = { "https://index.docker.io/v1/": { auth: secret }, "https://r.example:5000/v2": { auth: secret } };
  const credentials = await RegistryCredentials.read(await write({ auths, HttpHeaders: { "User-Agent": "x" } }));
  const password = { kind: "password", username: "ann", password: "hunter2" };
  for (const host of ["docker.io", "registry-1.docker.io", "r.example:5000"]) {
    expect(credentials.of(host)).toEqual(password);
  }
  expect(credentials.of("other.example")).toBeUndefined();
  expect(inspect(credentials, { depth: 9 }) + JSON.stringify(credentials)).not.toContain("hunter2");
});

test("no file is no credentials", async () => {
  expect((await RegistryCredentials.read(join(directory, "none"))).of("r.example")).toBeUndefined();
});

test.each([0o644, 0o640, 0o604])("a file of mode %o is refused", async (mode) => {
  const file = await write({ auths: {} }, mode);
  await expect(RegistryCredentials.read(file)).rejects.toMatchObject({
    code: "CONFIG_INVALID",
    message: expect.stringContaining("0600"),
  });
});

test.each([
  ["no JSON", "{ hunter2"],
  ["a list", []],
  ["auth without a colon", { auths: { "r.example": { auth: Buffer.from("hunter2").toString("base64") } } }],
  ["a number", { auths: { "r.example": { password: 7 } } }],
])("%s is refused without being repeated", async (_, content) => {
  const refused = await RegistryCredentials.read(await write(content)).catch((error: unknown) => error);
  expect(refused).toMatchObject({ code: "CONFIG_INVALID" });
  expect(inspect(refused, { depth: 9 })).not.toMatch(/hunter2|aHVudGVyMg/);
});

test("a registry that only a helper knows is refused; nothing is started", async () => {
  const credentials = await RegistryCredentials.read(await write({ credHelpers: { "gcr.io": "gcloud" } }));
  expect(() => credentials.of("gcr.io")).toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }));
  expect(credentials.of("r.example")).toBeUndefined();
});

test.each([
  ["an unknown member", { registries: { "r.example": { mirror: "https://m" } } }],
  ["a mirror with a password", { registries: { "r.example": { mirrors: ["https://u:p@m.example"] } } }],
  ["a relative certificate path", { registries: { "r.example": { caFile: "ca.pem" } } }],
])("settings with %s are CONFIG_INVALID", async (_, content) => {
  await expect(RegistrySettings.read(await write(content))).rejects.toMatchObject({ code: "CONFIG_INVALID" });
});

test("settings that are named and missing are CONFIG_INVALID", async () => {
  await expect(RegistrySettings.read(join(directory, "none"))).rejects.toMatchObject({ code: "CONFIG_INVALID" });
});

test("who may pull from where", async () => {
  const settings = await RegistrySettings.read(
    await write({ onlyListed: true, registries: { "a.example": {}, "b.example": { projects: ["blue"] } } }),
  );
  const denied = expect.objectContaining({ code: "REGISTRY_DENIED" });
  settings.requireAllowed("a.example", "red");
  settings.requireAllowed("b.example", "blue");
  expect(() => settings.requireAllowed("b.example", "red")).toThrow(denied);
  expect(() => settings.requireAllowed("c.example", "blue")).toThrow(denied);
  RegistrySettings.none.requireAllowed("c.example", "blue");
});

test("certificates that are named and missing are CONFIG_INVALID", async () => {
  const settings = await RegistrySettings.read(
    await write({ registries: { "a.example": { caFile: join(directory, "none.pem") } } }),
  );
  await expect(settings.server("a.example")).rejects.toMatchObject({ code: "CONFIG_INVALID" });
});
