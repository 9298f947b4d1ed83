import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, readlinkSync } from "node:fs";
import { mkdir, mkdtempDisposable, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import {
  uuidV7,
  withShareDefaults,
  type AssignedShare,
  type Assignment,
  type MountedShareKind,
  type ShareSpec,
} from "@bulkhead/contracts";
import { busyboxImage } from "@bulkhead/testkit/images";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { sharedParts } from "./testing/machine-rig.ts";
import { MixedHost } from "./testing/mixed-host.ts";

vi.setConfig({ testTimeout: 180_000 });
const shared = await sharedParts(await busyboxImage());
const outside = await mkdtempDisposable("/tmp/bulkhead-outside-");
const allowed = join(outside.path, "allowed");
const canary = join(outside.path, "canary");
let host: MixedHost;
let box: Assignment;
let machine: Assignment;

type Changes = Partial<Omit<ShareSpec, "kind" | "namespaces">> & { readonly kind?: MountedShareKind };

const newShare = (path: string, { kind = "directory", ...spec }: Changes = {}, name = "common"): AssignedShare => ({
  shareId: uuidV7(Date.now(), randomBytes(10)),
  name,
  ...withShareDefaults({ ...spec, kind }),
  path,
  readOnly: false,
});
const data = newShare("/data", { owner: { uid: 7, gid: 8 }, mode: "0777" });
const small = newShare("/deep/in/small", { sizeBytes: 8 * 2 ** 20 }, "small");
const read = newShare("/read", {}, "read");
const mount = (path: string, readOnly: boolean) => ({ hostPath: allowed, path, readOnly });

beforeAll(async () => {
  await mkdir(allowed);
  await writeFile(canary, "canary");
  await writeFile(join(allowed, "word"), "of the host");
  host = await MixedHost.open(shared, allowed);
  box = await host.start("container", null, {}, [data, read]);
  const seen = [{ ...data, path: "/a/b" }, small, { ...read, readOnly: true }];
  machine = await host.start("vm", null, { mounts: [mount("/host", true), mount("/wide", false)] }, seen);
}, 300_000);
afterAll(async () => {
  await host[Symbol.asyncDispose]();
  await rm(shared.directory, { recursive: true, force: true });
  await outside[Symbol.asyncDispose]();
}, 120_000);

test("a container and a machine see each other's files of one share, with the same owners, at once", async () => {
  await host.exec(box, "echo one > /data/word; chown 9:10 /data/word; mkdir /data/dir; ln -s word /data/link");
  expect(await host.exec(machine, "cat /a/b/link; stat -c '%u:%g' /a/b/word /a/b")).toBe("one\n9:10\n7:8");
  for (const word of ["two", "six"]) {
    // Of the same size in the same tick: nothing that a cache could tell by.
    await host.exec(box, `echo ${word} > /data/word`);
    expect(await host.exec(machine, "cat /a/b/word")).toBe(word);
  }
  await host.exec(machine, "head -c 3000000 /dev/urandom > /a/b/dir/much; chown 11:12 /a/b/dir/much; rm /a/b/link");
  const sum = "md5sum < $0/dir/much; stat -c '%s %u:%g' $0/dir/much; ls $0";
  const inMachine = await host.exec(machine, sum.replaceAll("$0", "/a/b"));
  expect(inMachine).toMatch(/3000000 11:12\ndir\nword$/);
  expect(await host.exec(box, sum.replaceAll("$0", "/data"))).toBe(inMachine);
  // Each keeps to what a user may do: a file of another's is not nobody's.
  const asUser =
    "mkdir -p /etc; echo some:x:44:44::/:/bin/sh >> /etc/passwd; su some -c 'touch /a/b/mine; echo x > /a/b/word'";
  expect(await host.exec(machine, asUser)).toContain("Permission denied");
  expect(await host.exec(box, "stat -c '%u:%g' /data/mine")).toBe("44:44");
});

test("what it may only read the host lets nobody in it change, whatever its root does there", async () => {
  await host.exec(box, "echo kept > /read/word");
  for (const place of ["/read", "/host"]) {
    expect(await host.exec(machine, `touch ${place}/new`)).toContain("Read-only file system");
    const again = `mount -o remount,rw ${place}; grep -c ' ${place} virtiofs rw' /proc/mounts; rm ${place}/word`;
    expect(await host.exec(machine, again)).toMatch(/^1\n.*Read-only file system/s);
  }
  expect(await host.exec(machine, "cat /read/word /host/word")).toBe("kept\nof the host");
  expect(readFileSync(join(allowed, "word"), "utf8")).toBe("of the host");
});

test("no link and no name leads out of a directory, and the host's files there have no other names", async () => {
  const up = "../".repeat(12);
  const links = `ln -s ${canary} /wide/absolute; ln -s ${up}${canary.slice(1)} /wide/up; ln -s .. /wide/parent`;
  await host.exec(machine, links);
  const tries = `cat /wide/absolute /wide/up /wide/parent/${basename(canary)} /wide/../${basename(canary)} /wide/${up}${canary.slice(1)}`;
  const said = await host.exec(machine, tries);
  expect(said.match(/No such file or directory/g)).toHaveLength(5);
  expect(said).not.toMatch(/^canary/m);
  // The links are there: what they lead to is the reader's own.
  expect(readlinkSync(join(allowed, "absolute"))).toBe(canary);
  expect(await host.exec(machine, "mknod /wide/disk b 8 0")).toContain("Operation not permitted");
  expect(existsSync(join(allowed, "disk"))).toBe(false);
});

test("a share's size is its end for a machine, too", async () => {
  const said = await host.exec(
    machine,
    "dd if=/dev/zero of=/deep/in/small/fill bs=64k count=256 2>&1; rm /deep/in/small/fill",
  );
  expect(said).toContain("No space left on device");
  expect(await host.exec(machine, "echo fits > /deep/in/small/word; cat /deep/in/small/word")).toBe("fits");
});

const statusOf = (pid: number, field: string): string =>
  new RegExp(`^${field}:\\s+(.*)$`, "m").exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? "";

test("whoever serves the files is confined to one directory, beside a monitor that can do nothing there", async () => {
  const [monitor = 0, ...servers] = await host.processesOf(machine);
  expect(servers.map((pid) => statusOf(pid, "Name"))).toEqual(Array.from({ length: 5 }, () => "virtiofsd"));
  for (const pid of servers) {
    // Nobody of the host's, with a filter of system calls, in the machine's own namespaces.
    expect(Number(statusOf(pid, "Uid").split("\t")[0])).toBeGreaterThanOrEqual(0x1000_0000);
    expect(statusOf(pid, "Seccomp")).toBe("2");
    for (const kind of ["user", "mnt", "net", "pid", "ipc"]) {
      expect(readlinkSync(`/proc/${pid}/ns/${kind}`)).toBe(readlinkSync(`/proc/${monitor}/ns/${kind}`));
      expect(readlinkSync(`/proc/${pid}/ns/${kind}`)).not.toBe(readlinkSync(`/proc/self/ns/${kind}`));
    }
    // CHOWN, DAC_OVERRIDE, FOWNER, FSETID, SETGID, SETUID of capabilities(7), of its user namespace.
    expect(BigInt(`0x${statusOf(pid, "CapEff")}`)).toBe(0b1101_1011n);
    expect(readlinkSync(`/proc/${pid}/root`)).toMatch(/^\/shares\/(share[012]|mount[01])$/);
  }
  for (const set of ["CapEff", "CapPrm", "CapBnd"]) expect(BigInt(`0x${statusOf(monitor, set)}`)).toBe(0n);
});

/** By the directory that each has for its root, the file servers of a machine. */
const serversOf = async (assignment: Assignment): Promise<Map<string, number>> => {
  const roots = (await host.processesOf(assignment)).map((pid) => [readlinkSync(`/proc/${pid}/root`), pid] as const);
  return new Map(roots.filter(([root]) => root.startsWith("/shares/")));
};

test("a share that is taken away is gone inside, and whoever had files of it open is ended", async () => {
  const kept = { ...data, path: "/a/b" };
  const open = "setsid sh -c 'exec 3< /read/word; echo open > /tmp/open; exec sleep 1000' > /dev/null 2>&1 & echo";
  await host.exec(machine, open);
  await expect.poll(() => host.exec(machine, "cat /tmp/open"), { timeout: 120_000 }).toBe("open");
  const outcomes = await host.reshare(machine, [kept]);
  expect(outcomes.map(({ state, busy }) => ({ state, busy }))).toEqual([
    { state: "attached", busy: false },
    { state: "detached", busy: false },
    { state: "detached", busy: true },
  ]);
  expect(outcomes[2]?.detail).toContain("had files of it open were ended");
  expect(await host.exec(machine, "pidof sleep | wc -w; ls -A /read | wc -l; grep -c virtiofs /proc/mounts")).toBe(
    "1\n0\n3",
  );
  expect(await host.exec(machine, "cat /a/b/word /host/word")).toMatch(/of the host$/);
  // Nobody serves them, and the host may remove them.
  expect([...(await serversOf(machine)).keys()].toSorted()).toEqual([
    "/shares/mount0",
    "/shares/mount1",
    "/shares/share0",
  ]);
  expect(await host.reshare(machine, [kept])).toMatchObject([{ state: "attached" }]);
});

test("a paused machine keeps what it has until it goes on, and nothing waits for it", async () => {
  const one = await host.start("vm", null, {}, [{ ...data, path: "/a/b" }]);
  await host.pause(one, true);
  const [kept] = await host.reshare(one, []);
  expect(kept).toMatchObject({ state: "failed", detail: expect.stringContaining("is paused") });
  await host.pause(one, false);
  expect(await host.reshare(one, [])).toMatchObject([{ state: "detached", busy: false }]);
  await host.end(one);
});

test("a guest that answers nothing loses a share all the same", async () => {
  const one = await host.start("vm", null, {}, [{ ...data, path: "/a/b" }]);
  const [monitor = 0] = await host.processesOf(one);
  process.kill(monitor, "SIGSTOP");
  const [left] = await host.reshare(one, []);
  expect(left).toMatchObject({ state: "detached", busy: true, detail: expect.stringContaining("wait for ever") });
  expect([...(await serversOf(one)).keys()]).toEqual([]);
  process.kill(monitor, "SIGCONT");
  // Whoever uses it inside waits for ever; everything else goes on.
  await expect.poll(() => host.exec(one, "echo here"), { timeout: 60_000 }).toBe("here");
  await host.end(one);
});

test("agents that are killed leave files and machine as they are, and a monitor that is killed leaves nobody", async () => {
  await host.killAgents();
  await host.startAgents();
  expect((await host.adopt()).split(" ")).toContain(machine.instanceId);
  await host.exec(box, "echo later > /data/word");
  expect(await host.exec(machine, "cat /a/b/word")).toBe("later");
  const processes = await host.processesOf(machine);
  await host.kill(machine);
  const living = () => processes.filter((pid) => existsSync(`/proc/${pid}`));
  await expect.poll(living, { timeout: 20_000 }).toEqual([]);
  expect(await host.exec(box, "cat /data/word")).toBe("later");
});

test("a machine whose file server ends is ended, with what was lost, also when no agent saw it", async () => {
  const start = () => host.start("vm", null, {}, [{ ...data, path: "/a/b" }]);
  const lost = /^MountFailed: the file server of "\/a\/b" ended, for which its programs would have waited for ever/;
  for (const unseen of [false, true]) {
    const one = await start();
    const server = (await serversOf(one)).get("/shares/share0");
    if (unseen) await host.killAgents();
    expect(server).toBeDefined();
    process.kill(Number(server), "SIGKILL");
    if (unseen) {
      await host.startAgents();
      await host.adopt();
    }
    expect(await host.endOf(one)).toMatch(lost);
  }
});

test("what a machine cannot see is refused before it starts", async () => {
  const start = (shares: AssignedShare[], mounts: ReturnType<typeof mount>[] = []) =>
    host.start("vm", null, { mounts }, shares);
  const memory = newShare("/dev/shm", { kind: "shared-memory" }, "memory");
  await expect(start([memory])).rejects.toThrow("MountNotAllowed: share memory is of kind shared-memory");
  const file = { ...mount("/x", true), hostPath: join(allowed, "word") };
  await expect(start([], [file])).rejects.toThrow("is a file, and a VM sees directories");
  const elsewhere = { ...mount("/x", true), hostPath: outside.path };
  await expect(start([], [elsewhere])).rejects.toThrow("is not below an allowed directory of this host");
});
