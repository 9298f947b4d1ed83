import { spawnSync } from "node:child_process";
import { copyFile, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { TestDirectory } from "@bulkhead/testkit/servers";
import { expect, test } from "vitest";
import { createControlKeys } from "./control-keys.ts";
import { maxPayloadBytes, natsTrustConfig } from "./nats-config.ts";

const clusterFile = fileURLToPath(new URL("../../../infra/nats/cluster.conf", import.meta.url));

/** What `nats-server -t` says of a configuration file. */
const check = (file: string): { status: number | null; said: string } => {
  const { status, stdout, stderr } = spawnSync("nats-server", ["-t", "--config", file], { encoding: "utf8" });
  return { status, said: stdout + stderr };
};

test("the cluster's configuration, with our trust included, is one nats-server takes", async () => {
  await using directory = await TestDirectory.make("nats-cluster");
  const file = join(directory.path, "cluster.conf");
  const { trust } = await createControlKeys(join(directory.path, "keys"));
  await writeFile(join(directory.path, "trust.conf"), natsTrustConfig(trust));
  await copyFile(clusterFile, file);
  // Its certificates are elsewhere; everything else is read as it stands.
  await writeFile(file, (await readFile(file, "utf8")).replaceAll(/^ *tls \{[^}]*\}\n/gm, ""));
  const { status, said } = check(file);
  expect([status, said]).toEqual([0, expect.stringContaining("configuration file") as string]);
  expect(await readFile(file, "utf8")).toContain(`max_payload: ${maxPayloadBytes}`);
});

test("a configuration it does not take is told apart", async () => {
  await using directory = await TestDirectory.make("nats-cluster");
  const file = join(directory.path, "bad.conf");
  await writeFile(file, "no_such_setting: 1\n");
  expect(check(file).status).not.toBe(0);
});
