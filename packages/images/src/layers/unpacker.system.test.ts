import { execFile } from "node:child_process";
import { mkdtemp, readFile, readdir, readlink, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { tarEnd, tarEntry } from "../tar/tar-bytes.ts";
import { Unpacker, type UnpackOptions, unpackerPath } from "./unpacker.ts";

const execute = promisify(execFile);

let root = "";
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "bh-unpack-"));
});
afterEach(() => rm(root, { recursive: true, force: true }));

const options = (rest: Partial<UnpackOptions> = {}): UnpackOptions => ({
  maxBytes: 1e9,
  maxEntries: 1000,
  sync: false,
  what: "the layer",
  signal: new AbortController().signal,
  ...rest,
});

async function* bytes(...parts: readonly Buffer[]): AsyncGenerator<Uint8Array> {
  yield* parts;
}

/** The unpackers working on this test's directory, by what their open descriptors are. */
const unpackers = async (): Promise<number[]> => {
  const found: number[] = [];
  for (const pid of (await readdir("/proc")).filter((name) => /^\d+$/.test(name))) {
    const program = await readlink(`/proc/${pid}/exe`).catch(() => "");
    const status = program === unpackerPath ? await readFile(`/proc/${pid}/status`, "utf8").catch(() => "") : "";
    const parent = Number(/^PPid:\s+(\d+)$/m.exec(status)?.[1]);
    if (parent === process.pid || found.includes(parent)) found.push(Number(pid));
  }
  return found;
};

test("the native tests pass under the address and undefined behaviour sanitizers", async () => {
  const { stdout } = await execute(join(unpackerPath, "..", "unpack-test"));
  expect(stdout).toMatch(/^\d+ passed, 0 failed$/m);
});

test("GNU tar's archives are unpacked: owners, times, links, sparse files, capabilities, long names", async () => {
  const script = `set -e; mkdir source && cd source
    mkdir -p ${"long/".repeat(30)} && echo deep > ${"long/".repeat(30)}file
    echo one > one && ln one two && ln -s one three && mkfifo pipe
    truncate -s 16M sparse && echo tail >> sparse
    cp /bin/true privileged && setcap cap_net_raw+ep privileged
    chown 1000:1001 one && chmod 6755 privileged && touch -d @1111111111 one
    setfattr -n user.note -v kept one 2>/dev/null || true
    cd .. && tar --format=pax --xattrs --xattrs-include='*' --sparse -cf archive.tar -C source .`;
  await execute("sh", ["-c", script], { cwd: root });
  await execute("mkdir", [join(root, "target")]);
  const report = await new Unpacker().apply(
    bytes(await readFile(join(root, "archive.tar"))),
    join(root, "target"),
    options(),
  );
  expect(report).toMatchObject({ skippedDevices: 0, opaqueRoot: false });
  const list = `cd "$1" && find . -printf '%p %y %m %U %G %s %l %n %Ts\\n' | sort && getcap privileged`;
  const [source, target] = await Promise.all(
    ["source", "target"].map((name) => execute("sh", ["-c", list, "sh", join(root, name)])),
  );
  // The fractions of times are compared by the seconds; the root's own time is that of its last change in the source.
  expect(target?.stdout).toBe(source?.stdout);
  const sparse = await stat(join(root, "target", "sparse"));
  expect(sparse.blocks * 512).toBeLessThan(1_000_000);
});

test("the process that parses sees only the layer, no network, and has five capabilities", async () => {
  const gate = Promise.withResolvers<undefined>();
  async function* slow(): AsyncGenerator<Uint8Array> {
    yield tarEntry({ name: "first" }, "x");
    await gate.promise;
    yield tarEnd;
  }
  const applying = new Unpacker().apply(slow(), root, options());
  const statusOf = (pid: number) => readFile(`/proc/${pid}/status`, "utf8");
  // The supervisor has CAP_SYS_ADMIN alone; the parser CHOWN, DAC_OVERRIDE, FOWNER, FSETID, SETFCAP.
  const pids = await vi.waitFor(async () => {
    const found = await unpackers();
    const permitted = (await Promise.all(found.map(statusOf))).map((text) => /^CapPrm:\s+(\w+)/m.exec(text)?.[1]);
    expect(permitted).toEqual(["0000000000200000", "000000008000001b"]);
    return found;
  }, 10_000);
  const own = await readlink("/proc/self/ns/net");
  const status = await Promise.all(pids.map(statusOf));
  for (const [at, pid] of pids.entries()) {
    expect(status[at]).toMatch(/^NoNewPrivs:\s+1$/m);
    expect(status[at]).toMatch(/^CapBnd:\s+(0000000000200000|000000008000001b)$/m);
    await expect(readlink(`/proc/${pid}/ns/net`)).resolves.not.toBe(own);
    const mounts = await readFile(`/proc/${pid}/mountinfo`, "utf8");
    expect(mounts.trim().split("\n")).toHaveLength(1);
    const names = await readdir(`/proc/${pid}/root`);
    expect(names).not.toContain("etc");
  }
  gate.resolve(undefined);
  await applying;
  await expect(unpackers()).resolves.toEqual([]);
});

test("nothing of an unpacker stays when its caller aborts", async () => {
  const stop = new AbortController();
  async function* endless(): AsyncGenerator<Uint8Array> {
    yield tarEntry({ name: "first" }, "x");
    stop.abort(new Error("enough"));
    for (;;) yield tarEntry({ name: "more" }, "x");
  }
  await expect(new Unpacker().apply(endless(), root, options({ signal: stop.signal }))).rejects.toThrow("enough");
  await vi.waitFor(async () => expect(await unpackers()).toEqual([]), 10_000);
});

test("bytes after the end of the archive are read, so that digests cover them", async () => {
  let read = 0;
  async function* trailing(): AsyncGenerator<Uint8Array> {
    yield tarEntry({ name: "file" }, "x");
    yield tarEnd;
    for (let part = 0; part < 200; part += 1) {
      read += 1;
      yield Buffer.alloc(65_536);
    }
  }
  await expect(new Unpacker().apply(trailing(), root, options())).resolves.toMatchObject({ entries: 1 });
  expect(read).toBe(200);
});

test("what the source throws comes out, and the unpacker ends", async () => {
  const failure = new Error("the disk broke");
  async function* broken(): AsyncGenerator<Uint8Array> {
    yield tarEntry({ name: "file" }, "x");
    throw failure;
  }
  await expect(new Unpacker().apply(broken(), root, options())).rejects.toBe(failure);
});

test("a full disk is the host's fault, not the layer's", async () => {
  const mountPoint = join(root, "small");
  await execute("sh", ["-c", `mkdir ${mountPoint} && mount -t tmpfs -o size=64k tmpfs ${mountPoint}`]);
  try {
    const layer = bytes(tarEntry({ name: "big" }, "x".repeat(1_000_000)), tarEnd);
    await expect(new Unpacker().apply(layer, mountPoint, options())).rejects.toMatchObject({
      code: "RUNTIME_FAILED",
      message: expect.stringContaining("No space left"),
    });
  } finally {
    await execute("umount", [mountPoint]);
  }
});

test("a program that is not the unpacker is reported, not believed", async () => {
  const applying = new Unpacker("/bin/true").apply(bytes(tarEnd), root, options());
  await expect(applying).rejects.toMatchObject({
    code: "RUNTIME_FAILED",
    message: expect.stringContaining("no report"),
  });
});

test("a parser killed from outside is the host's failure, not the layer's", async () => {
  const gate = Promise.withResolvers<undefined>();
  async function* slow(): AsyncGenerator<Uint8Array> {
    yield tarEntry({ name: "first" }, "x");
    await gate.promise;
  }
  const applying = new Unpacker().apply(slow(), root, options());
  const [, parser] = await vi.waitFor(async () => {
    const found = await unpackers();
    expect(found).toHaveLength(2);
    return found;
  }, 10_000);
  process.kill(parser ?? 0, "SIGKILL");
  await vi.waitFor(async () => expect(await unpackers()).toEqual([]), 10_000);
  gate.resolve(undefined);
  await expect(applying).rejects.toMatchObject({
    code: "RUNTIME_FAILED",
    message: expect.stringContaining("signal 9"),
  });
});

test("a sparse map of millions of parts ends the parser at its memory limit, and is the layer's fault", async () => {
  const parts = 30_000_000;
  const map = Buffer.concat([Buffer.from(`${parts}\n`), Buffer.alloc(parts * 4, "1\n0\n")]);
  const pax = ["22 GNU.sparse.major=1\n", "22 GNU.sparse.minor=0\n", "32 GNU.sparse.realsize=99999999\n"].join("");
  const head = tarEntry({ name: "pax" }, pax);
  // The same bytes with the type of a pax header: the checksum grows by the difference of the two type flags.
  const header = Buffer.from(head.subarray(0, 512));
  header.write("x", 156);
  header.write("        ", 148);
  header.write(
    `${header
      .reduce((sum, byte) => sum + byte, 0)
      .toString(8)
      .padStart(6, "0")}\0 `,
    148,
  );
  const layer = bytes(header, head.subarray(512), tarEntry({ name: "sparse" }, map), tarEnd);
  await expect(new Unpacker().apply(layer, root, options())).rejects.toMatchObject({
    code: "IMAGE_INVALID",
    message: expect.stringMatching(/memory|signal/i),
  });
}, 60_000);
