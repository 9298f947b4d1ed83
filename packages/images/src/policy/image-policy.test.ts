import { type KeyObject, generateKeyPairSync, sign } from "node:crypto";
import { chmod, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { FakeRegistry, registryImage, registryIndex } from "@bulkhead/testkit/images";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { digestOf } from "../digest.ts";
import { PullRig, layerOf } from "../testing/pull-rig.ts";

let registry: FakeRegistry;
let rig: PullRig;
beforeEach(async () => {
  registry = await FakeRegistry.start();
  rig = await PullRig.open({ policy: { rules: [] } });
});
afterEach(async () => {
  await registry[Symbol.asyncDispose]();
  await rig[Symbol.asyncDispose]();
});

const image = registryImage({ layers: [layerOf("a")] });
const setPolicy = (content: unknown) =>
  writeFile(join(rig.directory, "policy.json"), typeof content === "string" ? content : JSON.stringify(content));

/** Why the pull is refused; no layer was asked for. */
const refusal = async (reference: string): Promise<string> => {
  const refused = await rig.pull(reference).then(
    () => new Error("it was accepted"),
    (error: Error) => error,
  );
  expect(refused).toMatchObject({ code: "IMAGE_REFUSED" });
  for (const layer of image.layers) expect(registry.asked(layer)).toHaveLength(0);
  expect(await rig.stored()).toEqual([]);
  return refused.message;
};

describe("rules", () => {
  test("the first whose glob fits decides", async () => {
    const reference = registry.add(image, "team/app:1");
    await setPolicy({
      rules: [
        { match: `${registry.host}/*`, refuse: "only teams have images" },
        { match: `${registry.host}/team/*:1`, accept: true },
        { match: "**", refuse: "nothing else" },
      ],
    });
    expect((await rig.pull(reference)).manifestDigest).toBe(image.digest);
  });

  test("a refusal says why", async () => {
    await setPolicy({ rules: [{ match: "**", refuse: "the moon is full" }] });
    expect(await refusal(registry.add(image))).toMatch(/the moon is full/);
  });

  test.each([
    ["no rule that fits", { rules: [{ match: "other.example/**", accept: true }] }, /No rule/],
    ["an unknown member", { rules: [{ match: "**", accept: true, maybe: 1 }] }, /no image is accepted/],
    ["accept: false", { rules: [{ match: "**", accept: false }] }, /no image is accepted/],
    ["no JSON", "rules:", /no image is accepted/],
  ])("%s accepts nothing", async (_, content, message) => {
    await setPolicy(content);
    expect(await refusal(registry.add(image))).toMatch(message);
  });

  test("a file that is gone accepts nothing", async () => {
    await using own = await PullRig.open({ policy: { rules: [{ match: "**", accept: true }] } });
    const reference = registry.add(image);
    await own.pull(reference);
    await rm(join(own.directory, "policy.json"));
    await expect(own.pull(reference)).rejects.toMatchObject({ code: "IMAGE_REFUSED" });
  });
});

describe("a command", () => {
  const command = async (script: string, timeoutMs = 10_000) => {
    const file = join(rig.directory, "check");
    await writeFile(file, `#!/bin/sh\n${script}\n`);
    await chmod(file, 0o700);
    await setPolicy({ rules: [{ match: "**", command: { argv: [file, "--strict"], timeoutMs } }] });
  };

  test("that ends well accepts; it gets the image on standard input and no environment", async () => {
    const seen = join(rig.directory, "seen");
    await command(`cat > ${seen}; env > ${seen}.env; echo "$1" > ${seen}.word`);
    const reference = registry.add(image);
    expect((await rig.pull(reference, { project: "blue" })).manifestDigest).toBe(image.digest);
    expect(JSON.parse(await readFile(seen, "utf8"))).toEqual({
      version: 1,
      project: "blue",
      reference,
      digests: [image.digest],
      manifest: image.manifest.toString(),
    });
    expect(await readFile(`${seen}.word`, "utf8")).toBe("--strict\n");
    const names = (await readFile(`${seen}.env`, "utf8")).split("\n").map((line) => line.split("=")[0]);
    expect(names.filter((name) => !["", "PATH", "PWD", "OLDPWD", "SHLVL", "_"].includes(name ?? ""))).toEqual([]);
  });

  test.each([
    ["refuses", "echo 'not signed by us' >&2; exit 1", /not signed by us/],
    ["refuses without a word, unread", "exit 3", /status 3/],
    ["crashes", "kill -SEGV $$", /SIGSEGV/],
  ])("that %s refuses the image", async (_, script, message) => {
    await command(script);
    expect(await refusal(registry.add(image))).toMatch(message);
  });

  test("that hangs is ended with all it started", async () => {
    const pidFile = join(rig.directory, "pid");
    await command(`sleep 1000 & echo $! > ${pidFile}; wait`, 300);
    expect(await refusal(registry.add(image))).toMatch(/within 300 ms/);
    const pid = Number(await readFile(pidFile, "utf8"));
    await expect.poll(() => isAlive(pid)).toBe(false);
  });

  test("that is not there refuses the image", async () => {
    await setPolicy({ rules: [{ match: "**", command: { argv: [join(rig.directory, "none")] } }] });
    expect(await refusal(registry.add(image))).toMatch(/could not be started/);
  });

  test("that says very much is heard in part", async () => {
    await command("head -c 10000000 /dev/zero | tr '\\0' x; exit 1");
    expect(await refusal(registry.add(image))).toMatch(/x{100}/);
    const error = (await rig.pull(registry.add(image)).catch((cause: unknown) => cause)) as Error;
    expect(error.message.length).toBeLessThan(3_000);
  });
});

/** Also false for a process that only waits to be reaped. */
const isAlive = async (pid: number): Promise<boolean> => {
  const stat = await readFile(`/proc/${pid}/stat`, "latin1").catch(() => "");
  return stat !== "" && !stat.slice(stat.lastIndexOf(")")).startsWith(") Z");
};

describe("signatures as cosign attaches them", () => {
  const ours = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const others = generateKeyPairSync("ec", { namedCurve: "P-256" });

  const requireKey = async (key: KeyObject = ours.publicKey, identity?: string) => {
    const keyFile = join(rig.directory, "key.pub");
    await writeFile(keyFile, key.export({ type: "spki", format: "pem" }));
    const signedBy = { keyFiles: [keyFile], ...(identity === undefined ? {} : { identity }) };
    await setPolicy({ rules: [{ match: "**", signedBy }] });
  };

  const payloadOf = (digest: string, repository = `${registry.host}/app`) =>
    Buffer.from(
      JSON.stringify({
        critical: {
          identity: { "docker-reference": repository },
          image: { "docker-manifest-digest": digest },
          type: "cosign container image signature",
        },
        optional: null,
      }),
    );

  const attach = (digest: string, signed: readonly { payload: Buffer; signature: Buffer }[]) => {
    const layers = signed.map(({ payload, signature }) => {
      registry.blobs.set(digestOf(payload), payload);
      return {
        mediaType: "application/vnd.dev.cosign.simplesigning.v1+json",
        digest: digestOf(payload),
        size: payload.byteLength,
        annotations: { "dev.cosignproject.cosign/signature": signature.toString("base64") },
      };
    });
    const config = { mediaType: "application/vnd.oci.image.config.v1+json", digest: digestOf("{}"), size: 2 };
    const manifest = Buffer.from(JSON.stringify({ schemaVersion: 2, config, layers }));
    registry.addDocument(manifest, `app:${digest.replace(":", "-")}.sig`);
  };

  const signedWith = (payload: Buffer, key: KeyObject) => ({
    payload,
    signature: sign(key.asymmetricKeyType === "ed25519" ? null : "sha256", payload, key),
  });

  test.each([
    ["ECDSA P-256", ours],
    ["RSA", generateKeyPairSync("rsa", { modulusLength: 2048 })],
    ["Ed25519", generateKeyPairSync("ed25519")],
  ])("one by our %s key among others accepts", async (_, { publicKey, privateKey }) => {
    await requireKey(publicKey);
    const payload = payloadOf(image.digest);
    attach(image.digest, [signedWith(payload, others.privateKey), signedWith(payload, privateKey)]);
    expect((await rig.pull(registry.add(image))).manifestDigest).toBe(image.digest);
  });

  test("one of the index vouches for what is in it", async () => {
    await requireKey();
    const reference = registry.add(image);
    const index = registryIndex([{ image, platform: { os: "linux", architecture: "amd64" } }]);
    registry.addDocument(index, "app:1");
    attach(digestOf(index), [signedWith(payloadOf(digestOf(index)), ours.privateKey)]);
    expect((await rig.pull(reference)).manifestDigest).toBe(image.digest);
  });

  test("none, one by another key, one of another image or repository, a forged payload: refused", async () => {
    const reference = registry.add(image);
    await requireKey();
    expect(await refusal(reference)).toMatch(/no signature/);
    const payload = payloadOf(image.digest);
    attach(image.digest, [signedWith(payload, others.privateKey)]);
    expect(await refusal(reference)).toMatch(/by none of the keys/);
    attach(image.digest, [signedWith(payloadOf(`sha256:${"0".repeat(64)}`), ours.privateKey)]);
    expect(await refusal(reference)).toMatch(/is about sha256:000/);
    attach(image.digest, [signedWith(payloadOf(image.digest, "evil.example/app"), ours.privateKey)]);
    expect(await refusal(reference)).toMatch(/the repository evil.example/);
    attach(image.digest, [{ payload, signature: signedWith(Buffer.from("else"), ours.privateKey).signature }]);
    expect(await refusal(reference)).toMatch(/by none of the keys/);
    attach(image.digest, [signedWith(payload, ours.privateKey)]);
    registry.blobs.set(digestOf(payload), Buffer.from(payload.toString().replace("image", "imagE")));
    expect(await refusal(reference)).toMatch(/by none of the keys/);
  });

  test("a signature for a copied repository is accepted where the rule says so", async () => {
    const reference = registry.add(image);
    attach(image.digest, [signedWith(payloadOf(image.digest, "upstream.example/app"), ours.privateKey)]);
    for (const identity of ["upstream.example/app", "any"]) {
      await requireKey(ours.publicKey, identity);
      expect((await rig.pull(reference)).manifestDigest).toBe(image.digest);
    }
  });

  test("a key that is gone or no key, and a registry in trouble, accept nothing", async () => {
    const reference = registry.add(image);
    await setPolicy({ rules: [{ match: "**", signedBy: { keyFiles: [join(rig.directory, "none.pub")] } }] });
    expect(await refusal(reference)).toMatch(/key .*none.pub cannot be used/);
    await requireKey();
    await writeFile(join(rig.directory, "key.pub"), "no key");
    expect(await refusal(reference)).toMatch(/cannot be used/);
    await requireKey();
    registry.intercept = (request, response) => {
      if (request.url?.includes(".sig") !== true) return false;
      response.writeHead(500).end();
      return true;
    };
    expect(await refusal(reference)).toMatch(/could not decide/);
  });
});
