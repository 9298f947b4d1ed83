import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { subjects } from "@bulkhead/contracts";
import { fromPublic } from "@nats-io/nkeys";
import { afterEach, describe, expect, test } from "vitest";
import { createControlKeys } from "./control-keys.ts";
import { natsServerConfig } from "./nats-config.ts";
import { roles } from "./roles.ts";
import { makeUserKey, mintHostUser, readSigner } from "./users.ts";
import { hostA } from "./testing/messages.ts";

const directories: string[] = [];
const directory = async (): Promise<string> => {
  const path = await mkdtemp(join(tmpdir(), "bulkhead-test-keys-"));
  directories.push(path);
  return path;
};
afterEach(async () => {
  for (const path of directories.splice(0)) await rm(path, { recursive: true });
});

const claimsOf = (jwt: string): { iss: string; sub: string; exp?: number; nats: Record<string, unknown> } =>
  JSON.parse(Buffer.from(jwt.split(".")[1] ?? "", "base64url").toString()) as never;

const isSignedByIssuer = (jwt: string): boolean => {
  const [header, claims, signature = ""] = jwt.split(".");
  const signed = new TextEncoder().encode(`${header}.${claims}`);
  return fromPublic(claimsOf(jwt).iss).verify(signed, Buffer.from(signature, "base64url"));
};

describe("control keys", () => {
  test("stay the same, whoever asks again; tokens may be issued anew", async () => {
    const path = await directory();
    const [first, second] = [await createControlKeys(path), await createControlKeys(path)];
    expect(second.trust.systemAccount).toBe(first.trust.systemAccount);
    expect(Object.keys(second.trust.accounts)).toEqual(Object.keys(first.trust.accounts));
    expect(claimsOf(second.trust.operatorJwt).sub).toBe(claimsOf(first.trust.operatorJwt).sub);
    expect(await readFile(second.scheduler.seedFile, "utf8")).toMatch(/^SU[A-Z2-7]{56}$/);
  });

  test("are readable to their owner alone", async () => {
    const keys = await createControlKeys(await directory());
    const files = [
      keys.scheduler.jwtFile,
      keys.scheduler.seedFile,
      keys.scheduler.hostSignerFile,
      keys.metrics.seedFile,
    ];
    for (const file of files) expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(keys.metrics).not.toHaveProperty("hostSignerFile");
  });

  test("account and operator sign what they say", async () => {
    const { trust } = await createControlKeys(await directory());
    expect(isSignedByIssuer(trust.operatorJwt)).toBe(true);
    const operator = claimsOf(trust.operatorJwt).sub;
    for (const [key, jwt] of Object.entries(trust.accounts)) {
      expect(isSignedByIssuer(jwt)).toBe(true);
      expect(claimsOf(jwt)).toMatchObject({ sub: key, iss: operator });
    }
  });
});

describe("a host's user", () => {
  test("has tags and no permissions of its own, under the scoped key", async () => {
    const keys = await createControlKeys(await directory());
    const signer = await readSigner(keys.scheduler.hostSignerFile);
    const { publicKey } = makeUserKey();
    const jwt = mintHostUser({ signer, publicKey, hostId: hostA, isolation: "vm", expiresAt: 5 });
    expect(isSignedByIssuer(jwt)).toBe(true);
    const { sub, exp, nats } = claimsOf(jwt);
    expect([sub, exp]).toEqual([publicKey, 5]);
    expect(nats).toEqual({
      type: "user",
      version: 2,
      issuer_account: signer.account,
      tags: [`host:${hostA}`, "kind:vm"],
    });
  });

  test("may publish exactly what the catalogue says an agent publishes, for itself", () => {
    const published = Object.values(subjects).filter(({ publisher }) => publisher === "agent");
    expect(roles.host.publish).toEqual(
      published.map(({ pattern }) =>
        pattern.replace("{hostId}", "{{tag(host)}}").replace("{isolation}", "{{tag(kind)}}"),
      ),
    );
    expect(roles.host.publish.length + roles.host.subscribe.length).toBe(Object.keys(subjects).length + 1);
    expect([...roles.host.publish, ...roles.host.subscribe].filter((name) => name.includes("$JS"))).toEqual([]);
  });
});

describe("the server's configuration", () => {
  test("listens on loopback, opens no other port, and quotes what it is given", () => {
    const text = natsServerConfig({ serverName: 'odd "name"', port: 4222, jetStreamDir: "/var/lib/x y" });
    expect(text).toContain('listen: "127.0.0.1:4222"');
    expect(text).toContain('server_name: "odd \\"name\\""');
    expect(text).toContain('store_dir: "/var/lib/x y"');
    expect(text).toContain('ping_interval: "10s"');
    expect(text).not.toMatch(/\b(http|https|monitor_port|websocket|mqtt|leafnodes|cluster)\b/);
  });

  test("has JetStream only when a directory is given", () => {
    expect(natsServerConfig({ serverName: "a", port: -1 })).not.toContain("jetstream");
  });
});
