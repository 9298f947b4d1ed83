import { execFile } from "node:child_process";
import { access, mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Digest } from "@bulkhead/contracts";
import {
  builtConflictImages,
  busyboxImage,
  conflictImages,
  type ConflictImages,
  nginxImage,
  redisImage,
  symlinkedDirectoryImage,
  unrunnableImage,
} from "@bulkhead/testkit/images";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { importArchive } from "../archive/import.ts";
import type { ImportedImage } from "../archive/imported-image.ts";
import { BlobStore } from "../blobs/blob-store.ts";
import { type EnsuredImage, LayerStore } from "../layers/layer-store.ts";
import { buildDebianImage } from "./build-image.ts";

const execute = promisify(execFile);

let root = "";
let blobs: BlobStore;
let layers: LayerStore;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "bh-build-test-"));
  blobs = await BlobStore.open({ root: join(root, "blobs") });
  layers = await LayerStore.open({ root: join(root, "images"), durable: false });
});
afterAll(() => rm(root, { recursive: true, force: true }));

const imported = async (path: string): Promise<ImportedImage> => {
  const [image, ...others] = await importArchive(path, blobs);
  if (image === undefined || others.length > 0) throw new Error(`${path} does not hold one image`);
  return image;
};

const ensured = async (path: string): Promise<EnsuredImage> => {
  const { manifestDigest } = await imported(path);
  return layers.ensureImage(manifestDigest, { fetch: async (digest: Digest) => (await blobs.open(digest)).stream });
};

let mounts = 0;

/** Runs a command in the image over overlayfs, in namespaces that end with it. */
const run = async (path: string, script: string, user = "0:0"): Promise<string> => {
  const image = await ensured(path);
  mounts += 1;
  const [upper, work, merged] = ["upper", "work", "merged"].map((name) => join(root, `${name}${mounts}`));
  for (const directory of [upper, work, merged]) await mkdir(directory ?? "");
  // overlayfs does not take one lower directory without an upper one, so there always is one.
  const options = `lowerdir=${image.layers.join(":")},upperdir=${upper},workdir=${work}`;
  const outer = [
    'mount -t overlay overlay -o "$1" "$2"',
    'mount -t proc proc "$2/proc"',
    'mount --rbind /dev "$2/dev"',
    "ip link set lo up",
    'exec chroot --userspec="$3" "$2" /bin/sh -c "$4"',
  ].join(" && ");
  const parameters = ["sh", "-c", outer, "sh", options, merged ?? "", user, script];
  const { stdout } = await execute("unshare", ["-mnpf", "--kill-child", ...parameters], {
    env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" },
  });
  return stdout;
};

const has = (program: string): Promise<boolean> =>
  execute("which", [program]).then(
    () => true,
    () => false,
  );

test("busybox's shell and applets run from the image", async () => {
  await expect(run(await busyboxImage(), "echo hello | tr a-z A-Z; ls -ld /tmp | cut -c1-10; id -un")).resolves.toBe(
    "HELLO\ndrwxrwxrwt\nroot\n",
  );
});

test("Debian's redis-server serves from the image, as its own user, on its socket", async () => {
  const script = [
    "redis-server /etc/redis/redis.conf --daemonize yes >/dev/null",
    "for try in $(seq 100); do redis-cli -s /run/redis/redis.sock ping >/dev/null 2>&1 && break; usleep 50000; done",
    "redis-cli set answer 42; redis-cli -s /run/redis/redis.sock get answer",
    "stat -c %U /run/redis/redis.sock; redis-cli shutdown nosave",
  ];
  await expect(run(await redisImage(), script.join("\n"), "999:999")).resolves.toBe("OK\n42\nredis\n");
});

test("Debian's nginx serves from the image", async () => {
  const script = [
    "nginx -c /etc/nginx/nginx.conf 2>/dev/null >/dev/null &",
    "for try in $(seq 100); do wget -qO /tmp/page http://127.0.0.1:8080/ 2>/dev/null && break; usleep 50000; done",
    "cat /tmp/page; kill $!; wait",
  ];
  await expect(run(await nginxImage(), script.join("\n"))).resolves.toBe("hello from nginx\n");
});

describe.each([
  ["as Debian's package lists have them", conflictImages],
  ["built by us", builtConflictImages],
])("two images with conflicting libraries and files, %s", (_, make) => {
  let made: ConflictImages;
  beforeAll(async () => {
    made = await make();
  });

  test("each program gets its own library and each image has its own /etc", async () => {
    const script = `${made.command.join(" ")}; cat ${made.conflictingFile}`;
    const [first, second] = await Promise.all(made.images.map(({ path }) => run(path, script)));
    const [one, two] = made.images.map(({ version }) => version);
    expect(first).toContain(one);
    expect(second).toContain(two);
    expect(first).not.toContain(two);
    expect(first).toContain("instance = first");
    expect(second).toContain("instance = second");
  });

  test("nothing of them came to the host", async () => {
    await expect(access(made.conflictingFile)).rejects.toThrow("ENOENT");
  });
});

test("images with a symbolic link for /dev, and with programs that cannot run, are images", async () => {
  const linked = await ensured(await symlinkedDirectoryImage("/dev", "/etc"));
  expect(linked.layers).toHaveLength(3);
  await expect(run(await unrunnableImage(), "test -x /bin/not-executable || echo refused")).resolves.toBe("refused\n");
});

test("equal input gives equal bytes, other input other bytes, and the cache answers at once", async () => {
  const cacheDir = join(root, "cache");
  const hostPath = join(root, "host-file");
  await writeFile(hostPath, "one");
  const input = {
    packages: ["busybox-static"],
    busyboxApplets: true,
    files: { "/srv/data": { hostPath, mode: 0o640, uid: 5, gid: 6 }, "/etc/x": { content: "x" } },
    layers: [{ remove: ["/etc/x"], links: { "/etc/y": "/srv/data" } }],
    env: { A: "b" },
  };
  const first = await buildDebianImage(input, { cacheDir });
  const started = performance.now();
  await expect(buildDebianImage(input, { cacheDir })).resolves.toBe(first);
  expect(performance.now() - started).toBeLessThan(200);
  const elsewhere = await buildDebianImage(input, { cacheDir: join(root, "cache2") });
  expect((await readFile(elsewhere)).equals(await readFile(first))).toBe(true);
  const plain = { files: input.files };
  const before = await buildDebianImage(plain, { cacheDir });
  await writeFile(hostPath, "two");
  await expect(buildDebianImage(plain, { cacheDir })).resolves.not.toBe(before);
  await expect(
    run(first, "cat /etc/y; stat -c '%a %u %g' /srv/data; test -e /etc/x || echo gone; echo $A"),
  ).resolves.toBe("one640 5 6\ngone\n\n");
});

test.each(["none", "gzip", "zstd"] as const)("a build with %s compression is imported", async (compression) => {
  const path = await buildDebianImage(
    { files: { "/x": { content: "x" } } },
    { cacheDir: join(root, "cache"), compression },
  );
  await expect(imported(path)).resolves.toMatchObject({ layers: [{ sizeBytes: expect.any(Number) }] });
});

test("a package that does not exist fails with apt's words and leaves nothing", async () => {
  const cacheDir = join(root, "cache3");
  const building = buildDebianImage({ packages: ["no-such-package-anywhere"] }, { cacheDir });
  await expect(building).rejects.toMatchObject({
    code: "SETUP_FAILED",
    message: expect.stringMatching(/no-such-package/),
  });
  expect((await stat(cacheDir)).nlink).toBe(2);
});

test("a path that leaves the image is refused", async () => {
  const building = buildDebianImage({ files: { "/../escaped": { content: "x" } } }, { cacheDir: join(root, "cache") });
  await expect(building).rejects.toMatchObject({ code: "REQUEST_INVALID" });
});

describe("what skopeo writes from our image is the same image", async () => {
  const missing = !(await has("skopeo"));

  test.skipIf(missing)("as oci-archive, docker-archive and directory", async () => {
    const ours = await busyboxImage();
    const expected = await ensured(ours);
    for (const [kind, name] of [
      ["oci-archive", "oci.tar"],
      ["docker-archive", "docker.tar"],
      ["oci", "layout"],
    ]) {
      const target = join(root, name ?? "");
      await execute("skopeo", [
        "--insecure-policy",
        "copy",
        "-q",
        `oci-archive:${ours}`,
        `${kind}:${target}:busybox:copied`,
      ]);
      const copied = await imported(target);
      expect(copied.config.cmd).toEqual(["sh"]);
      const again = await ensured(target);
      expect(again.layers).toEqual(expected.layers);
    }
  });
});

describe("an image that umoci changed is imported", async () => {
  const missing = !(await has("umoci")) || !(await has("skopeo"));

  test.skipIf(missing)("with its new layer, whiteouts and configuration", async () => {
    const layout = join(root, "umoci");
    const bundle = join(root, "bundle");
    const ours = await busyboxImage();
    await execute("skopeo", ["--insecure-policy", "copy", "-q", `oci-archive:${ours}`, `oci:${layout}:ours`]);
    await execute("umoci", ["unpack", "--image", `${layout}:ours`, bundle]);
    await rm(join(bundle, "rootfs/etc/nsswitch.conf"));
    await writeFile(join(bundle, "rootfs/etc/added"), "by umoci\n");
    await execute("umoci", ["repack", "--image", `${layout}:ours`, bundle]);
    await execute("umoci", [
      "config",
      "--image",
      `${layout}:ours`,
      "--config.user",
      "nobody",
      "--config.stopsignal",
      "SIGINT",
    ]);
    const image = await imported(layout);
    expect(image).toMatchObject({
      names: ["ours"],
      config: { user: "nobody", stopSignal: "SIGINT" },
      layers: { length: 2 },
    });
    await expect(run(layout, "cat /etc/added; test -e /etc/nsswitch.conf || echo gone")).resolves.toBe(
      "by umoci\ngone\n",
    );
    await rm(bundle, { recursive: true });
  });
});
