import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { layoutBytes, MemoryFetcher } from "@bulkhead/testkit/images";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { importArchive } from "../archive/import.ts";
import { BlobStore } from "../blobs/blob-store.ts";
import { tarEnd, tarEntry } from "../tar/tar-bytes.ts";
import { LayerStore } from "./layer-store.ts";
import { unpackerPath } from "./unpacker.ts";

const execute = promisify(execFile);

let root = "";
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "bh-faults-"));
});
afterEach(() => rm(root, { recursive: true, force: true }));

const layer = (name: string, bytes: number): Buffer =>
  Buffer.concat([tarEntry({ name }, Buffer.alloc(bytes, "x")), tarEnd]);

/** A file system of its own, gone with the test. */
const smallDisk = async (sizeBytes: number): Promise<AsyncDisposable & { path: string }> => {
  const path = join(root, "small");
  await mkdir(path);
  await execute("mount", ["-t", "tmpfs", "-o", `size=${sizeBytes}`, "tmpfs", path]);
  return { path, [Symbol.asyncDispose]: async () => void (await execute("umount", [path])) };
};

test("an import onto a full disk says so, and leaves nothing", async () => {
  await using disk = await smallDisk(1_000_000);
  const store = await BlobStore.open({ root: disk.path });
  const { archive } = layoutBytes({ layers: [layer("big", 3_000_000)] });
  await expect(importArchive(Readable.from([archive]), store)).rejects.toMatchObject({
    code: "RUNTIME_FAILED",
    message: expect.stringContaining("full"),
  });
  await expect(readdir(join(disk.path, "tmp"))).resolves.toEqual([]);
});

test.each([
  ["while the layer arrives", 2_000_000],
  ["while it is unpacked", 4_000_000],
])("a host whose disk is full %s says so, and leaves nothing", async (_, sizeBytes) => {
  await using disk = await smallDisk(sizeBytes);
  const layout = layoutBytes({ layers: [layer("big", 3_000_000)] });
  const store = await LayerStore.open({ root: disk.path });
  await expect(store.ensureImage(layout.manifestDigest, new MemoryFetcher().add(layout))).rejects.toMatchObject({
    code: "RUNTIME_FAILED",
    message: expect.stringMatching(/full|No space left/),
  });
  for (const directory of ["tmp", "work", "layers"]) {
    await expect(readdir(join(disk.path, directory))).resolves.toEqual([]);
  }
});

const endlessUnpack = `
  import { Unpacker } from ${JSON.stringify(fileURLToPath(new URL("./unpacker.ts", import.meta.url)))};
  import { LayerDirectories } from ${JSON.stringify(fileURLToPath(new URL("./layer-directories.ts", import.meta.url)))};
  import { tarEntry } from ${JSON.stringify(fileURLToPath(new URL("../tar/tar-bytes.ts", import.meta.url)))};
  const unpacker = new Unpacker();
  const directories = await LayerDirectories.open(process.argv[1], unpacker);
  const { root } = await directories.begin();
  async function* endless() {
    for (let at = 0; ; at += 1) yield tarEntry({ name: "file" + at % 100 }, "x".repeat(10_000));
  }
  await unpacker.apply(endless(), root, {
    maxBytes: 1e15, maxEntries: 1e15, sync: false, what: "x", signal: new AbortController().signal,
  });
`;

const unpackersOf = async (pid: number | undefined): Promise<string[]> => {
  const { stdout } = await execute("ps", ["-eo", "pid=,ppid=,comm="]);
  return stdout.split("\n").filter((line) => line.includes(String(pid)) && line.includes("bulkhead-unp"));
};

test("an agent killed while it unpacks leaves no process, and its half a layer goes at the next start", async () => {
  const agent = spawn(process.execPath, ["--input-type=module", "-e", endlessUnpack, root], { stdio: "ignore" });
  const work = join(root, "work");
  let half = "";
  await vi.waitFor(async () => {
    [half = ""] = await readdir(work);
    expect((await readdir(join(work, half, "fs"))).length).toBeGreaterThan(10);
  }, 20_000);
  const running = await unpackersOf(agent.pid);
  expect(running).toHaveLength(1);
  const supervisor = Number(running[0]?.trim().split(/\s+/)[0]);
  agent.kill("SIGKILL");
  await once(agent, "exit");
  await vi.waitFor(async () => expect(await unpackersOf(supervisor)).toEqual([]), 10_000);
  await expect(readdir(work)).resolves.toEqual([half]);
  await LayerStore.open({ root, unpackerPath });
  await expect(readdir(work)).resolves.toEqual([]);
});
