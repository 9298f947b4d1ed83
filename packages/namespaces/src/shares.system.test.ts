import { randomBytes } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { mkdir, readdir, rm, stat, writeFile } from "node:fs/promises";
import { release } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import {
  uuidV7,
  withShareDefaults,
  type AssignedShare,
  type Digest,
  type MountedShareKind,
  type ShareSpec,
} from "@bulkhead/contracts";
import type { Run } from "@bulkhead/node";
import { busyboxImage, symlinkedDirectoryImage } from "@bulkhead/testkit/images";
import { Rig } from "./testing/rig.ts";

let rig: Rig;
let busybox: Digest;

beforeAll(async () => {
  rig = await Rig.open();
  busybox = await rig.image(await busyboxImage());
});
afterEach(async () => {
  await rig.clear();
  for (const shareId of await readdir(rig.paths.shares)) await rig.runtime.removeShare(shareId);
  await rig.runtime.settled();
  await rig.refuseLeaks();
});
afterAll(() => rig[Symbol.asyncDispose]());

const newShare = (
  kind: MountedShareKind,
  path: string,
  changes: Partial<AssignedShare> & Partial<ShareSpec> = {},
): AssignedShare => {
  const { path: _, readOnly, shareId, name, kind: __, ...spec } = { path, ...changes } as Partial<AssignedShare>;
  return {
    shareId: shareId ?? uuidV7(Date.now(), randomBytes(10)),
    name: name ?? "common",
    ...withShareDefaults({ ...(spec as Partial<ShareSpec>), kind }),
    path,
    readOnly: readOnly ?? false,
  };
};
const start = (script: string, ...assigned: AssignedShare[]): Promise<Run> =>
  rig.start(rig.assignment(busybox, { command: ["sh", "-c", script], assigned }));
const outputOf = async (script: string, ...assigned: AssignedShare[]): Promise<string> =>
  (await rig.run(rig.assignment(busybox, { command: ["sh", "-c", script], assigned }))).output;
const idle = "exec sleep 1000";
/** Whom a file in a tmpfs belongs to that root of another instance made: before Linux 6.3 none takes an id map. */
const rootOfAnother = (([major = 0, minor = 0]) => (major > 6 || (major === 6 && minor >= 3) ? 0 : 65534))(
  release().split(".").map(Number),
);
const seen = (run: Run, path: string): string => `/proc/${rig.pidOf(run)}/root${path}`;

test("two instances with ids of their own see one directory with sensible owners, and nobody else does", async () => {
  const data = newShare("directory", "/data", { owner: { uid: 7, gid: 8 }, mode: "0775" });
  const reader = { ...data, readOnly: true };
  const writer = await start("echo hello > /data/greeting; chown 9:9 /data/greeting; exec sleep 1000", data);
  await expect
    .poll(() =>
      stat(seen(writer, "/data/greeting")).then(
        ({ uid }) => uid,
        () => null,
      ),
    )
    .not.toBeNull();
  const text = "stat -c '%u:%g %a' /data; cat /data/greeting; stat -c %u /data/greeting; echo no 2>&1 > /data/x";
  await expect.poll(() => outputOf(text, reader)).toMatch(/^7:8 775\nhello\n9\n.*Read-only file system\n$/);
  const other = await start(idle);
  expect(readFileSync(`/proc/${rig.pidOf(other)}/mountinfo`, "utf8")).not.toContain(data.shareId);
  expect((await stat(rig.paths.shares)).mode & 0o777).toBe(0o700);
});

test("shared memory is one /dev/shm for both, of the size it was given", async () => {
  const memory = newShare("shared-memory", "/dev/shm", { sizeBytes: 2 * 2 ** 20 });
  const first = await start("echo from-one > /dev/shm/word; exec sleep 1000", memory);
  await expect.poll(() => existsSync(seen(first, "/dev/shm/word"))).toBe(true);
  const output = await outputOf(
    "cat /dev/shm/word; stat -c '%u %a' /dev/shm/word; dd if=/dev/zero of=/dev/shm/big bs=1M count=3 2>&1 | grep -o 'No space left'; df -k /dev/shm | tail -1",
    memory,
  );
  expect(output).toMatch(new RegExp(String.raw`^from-one\n${rootOfAnother} 644\nNo space left\n.* 2048 `));
  const view = await first.view("plan");
  expect(view.mounts.filter(({ target }) => target === "/dev/shm")).toMatchObject([{ share: "common", mode: "rw" }]);
});

test("a pipe in a socket directory joins two instances, and no program can be run from there", async () => {
  const sockets = newShare("socket-directory", "/run/common");
  const script =
    "echo '#!/bin/sh' > /run/common/run; chmod 755 /run/common/run; mkfifo -m 666 /run/common/pipe; read word < /run/common/pipe; echo got $word; exec sleep 1000";
  const server = await start(script, sockets);
  await expect.poll(() => existsSync(seen(server, "/run/common/pipe"))).toBe(true);
  expect(await outputOf("echo hello > /run/common/pipe; /run/common/run 2>&1", sockets)).toContain("Permission denied");
  await expect.poll(() => rig.output(server)).toBe("got hello\n");
});

test("a directory with a size is a volume that ends there, and keeps its data", async () => {
  const volume = newShare("directory", "/data", { sizeBytes: 8 * 2 ** 20 });
  const fill =
    "dd if=/dev/zero of=/data/a bs=1M count=16 2>&1 | grep -o 'No space left'; echo kept > /data/b || rm /data/a; echo kept > /data/b";
  expect(await outputOf(fill, volume)).toContain("No space left");
  // Its last user has gone; it is kept.
  expect(await outputOf("cat /data/b", { ...volume, readOnly: true })).toBe("kept\n");
});

test("a transient share goes with its last user, a kept one when it is removed", async () => {
  const transient = newShare("directory", "/t", { lifetime: "transient" });
  const kept = newShare("directory", "/k");
  const [one, two] = [await start(idle, transient, kept), await start(idle, transient, kept)];
  const end = async (run: Run) => {
    await run.stop(0);
    await run.release();
    await rig.runtime.remove(run.key.instanceId);
  };
  await end(one);
  expect((await readdir(rig.paths.shares)).sort()).toEqual([kept.shareId, transient.shareId].sort());
  await expect(rig.runtime.removeShare(kept.shareId)).rejects.toMatchObject({ code: "SHARE_IN_USE" });
  await end(two);
  expect(await readdir(rig.paths.shares)).toEqual([kept.shareId]);
  await rig.runtime.removeShare(kept.shareId);
  expect(await readdir(rig.paths.shares)).toEqual([]);
});

test("shares are attached to and detached from an instance that runs", async () => {
  const [data, memory] = [newShare("directory", "/data"), newShare("shared-memory", "/memory")];
  const run = await start(idle);
  expect(await run.reshare([data, memory])).toMatchObject([
    { shareId: data.shareId, state: "attached" },
    { shareId: memory.shareId, state: "attached" },
  ]);
  await writeFile(join(rig.paths.shares, data.shareId, "data", "x"), "x");
  expect(existsSync(seen(run, "/data/x"))).toBe(true);
  const shown = (await run.view("plan")).mounts.filter(({ share }) => share !== null);
  expect(shown).toMatchObject([
    { target: "/data", mode: "rw", propagation: "private" },
    { target: "/memory", mode: "rw", propagation: "private" },
  ]);
  // The same again changes nothing; another mode is another mount.
  expect((await run.reshare([{ ...data, readOnly: true }, memory])).map(({ state }) => state)).toEqual([
    "attached",
    "attached",
  ]);
  expect((await run.view("plan")).mounts.find(({ target }) => target === "/data")).toMatchObject({ mode: "ro" });
  expect(await run.reshare([memory])).toMatchObject([
    { shareId: memory.shareId, state: "attached" },
    { shareId: data.shareId, state: "detached", busy: false },
  ]);
  expect(existsSync(seen(run, "/data/x"))).toBe(false);
  expect(readFileSync(`/proc/${rig.pidOf(run)}/mountinfo`, "utf8")).not.toContain(data.shareId);
});

test("a busy share is detached all the same, and that it was busy is said", async () => {
  const data = newShare("directory", "/data");
  const run = await start("cd /data; exec sleep 1000", data);
  await expect.poll(() => readFileSync(`/proc/${rig.pidOf(run)}/comm`, "utf8")).toBe("sleep\n");
  expect(await run.reshare([])).toMatchObject([
    { state: "detached", busy: true, detail: expect.stringContaining("open") },
  ]);
  expect(readFileSync(`/proc/${rig.pidOf(run)}/mountinfo`, "utf8")).not.toContain(data.shareId);
});

test("an agent that starts again finds shares and their users, and can still detach", async () => {
  const memory = newShare("shared-memory", "/memory");
  const run = await start(idle);
  await run.reshare([memory]);
  await writeFile(join(rig.paths.runShares, memory.shareId, "data", "word"), "stays");
  await rig.reopen();
  const [again] = await rig.runtime.list();
  expect(again?.assignment.shares).toEqual([memory]);
  expect(await outputOf("cat /memory/word", { ...memory, readOnly: true })).toBe("stays");
  await expect(rig.runtime.removeShare(memory.shareId)).rejects.toMatchObject({ code: "SHARE_IN_USE" });
  expect(await again?.reshare([])).toMatchObject([{ state: "detached" }]);
  // Its last user has left.
  expect(await readdir(rig.paths.shares)).toEqual([]);
});

test("places that cannot be are told, and nothing changes", async () => {
  const run = await rig.start(
    rig.assignment(busybox, { command: ["sleep", "1000"], container: { readOnlyRoot: true } }),
  );
  const failures = await run.reshare([
    newShare("directory", "/proc/x", { name: "a" }),
    newShare("directory", "/missing", { name: "b" }),
    newShare("directory", "/bin/sh", { name: "c" }),
    newShare("directory", "/../etc", { name: "d" }),
  ]);
  expect(failures.map(({ state, detail }) => [state, detail])).toEqual([
    ["failed", expect.stringContaining("would cover the instance's own /proc")],
    ["failed", expect.stringContaining("its root is read-only")],
    ["failed", expect.stringContaining("is no directory")],
    ["failed", expect.stringContaining("is no place")],
  ]);
  expect(run.assignment.shares).toEqual([]);
});

test("no mount of a share travels, to the host or between instances", async () => {
  const memory = newShare("shared-memory", "/memory");
  const run = await start(idle, memory);
  const lines = readFileSync("/proc/self/mountinfo", "utf8").split("\n");
  const line = lines.find((each) => each.includes(`${memory.shareId}/data`)) ?? "";
  // Private: no optional field names a peer group.
  expect(line.split(" ")[6]).toBe("-");
  expect((await run.view("plan")).mounts.filter(({ propagation }) => propagation !== "private")).toEqual([]);
});

test.each(["/etc", "/dev"] as const)(
  "an image whose %s is a link to the host gets the share inside its own root",
  async (directory) => {
    const decoy = join(rig.root, `decoy${directory.replace("/", "-")}`);
    await mkdir(decoy);
    const image = await rig.image(await symlinkedDirectoryImage(directory, decoy));
    const assignment = rig.assignment(image, {
      command: ["/bin/true"],
      assigned: [newShare("directory", "/etc/deep"), newShare("shared-memory", "/dev/shm", { name: "memory" })],
    });
    const run = await rig.start(assignment).catch(() => null);
    await run?.ended;
    await run?.release();
    await rig.runtime.remove(assignment.instanceId);
    expect(await readdir(decoy)).toEqual([]);
    expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(`${decoy}/`);
    await rm(decoy, { recursive: true });
  },
);

test("data that tries to lead out of the share is only data", async () => {
  const data = newShare("directory", "/data");
  await outputOf("ln -s /etc/passwd /data/link; ln -s ../../../.. /data/up", data);
  const output = await outputOf("ls /data/up | grep -c state", data);
  expect(output).toMatch(/^0$/m);
});
