import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmod, mkdtempDisposable, rm } from "node:fs/promises";
import { release } from "node:os";
import { join } from "node:path";
import { uuidV7, withShareDefaults, type AssignedShare, type Assignment } from "@bulkhead/contracts";
import { busyboxImage } from "@bulkhead/testkit/images";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { sharedParts } from "./testing/machine-rig.ts";
import { MixedHost } from "./testing/mixed-host.ts";

vi.setConfig({ testTimeout: 180_000 });
const shared = await sharedParts(await busyboxImage());
const tools = await mkdtempDisposable("/tmp/bulkhead-tools-");
const stream = "/tools/unix-stream";
let host: MixedHost;
let box: Assignment;
let machine: Assignment;

const newShare = (name: string, path: string): AssignedShare => ({
  shareId: uuidV7(Date.now(), randomBytes(10)),
  name,
  ...withShareDefaults({ kind: "socket-directory" }),
  path,
  readOnly: false,
});
const sockets = newShare("sockets", "/run/common");
const both = newShare("both", "/run/both");
const seen: AssignedShare = { ...sockets, path: "/deep/in/sockets", readOnly: true };
/** A tmpfs has its instances' owners since Linux 6.3 (docs/decisions/0015). */
const [major = 0, minor = 0] = release().split(".").map(Number);
const idMapped = major > 6 || (major === 6 && minor >= 3);
const mounts = [{ hostPath: tools.path, path: "/tools" }];

const startMachine = () => host.start("vm", null, { mounts }, [seen, both]);
const listenIn = (name: string) =>
  host.exec(box, `setsid ${stream} listen /run/common/${name} > /dev/null 2>&1 & echo $!`);
/** What a command of the machine says, asked until it says what is waited for. */
const eventually = (script: string) => expect.poll(() => host.exec(machine, script), { timeout: 120_000 });

beforeAll(async () => {
  const source = join(import.meta.dirname, "testing/unix-stream.c");
  const words = ["-static", "-O1", "-Wall", "-Werror", "-o", join(tools.path, "unix-stream"), source];
  await chmod(tools.path, 0o755);
  execFileSync("gcc", words, { stdio: "pipe" });
  host = await MixedHost.open(shared, tools.path);
  box = await host.start("container", null, { mounts }, [sockets, both]);
  machine = await startMachine();
}, 300_000);
afterAll(async () => {
  await host[Symbol.asyncDispose]();
  await rm(shared.directory, { recursive: true, force: true });
  await tools[Symbol.asyncDispose]();
}, 120_000);

// A peer that is not of one's own kernel is nobody (65534) to whoever asks.
test("a machine's program connects to a container's socket, and both hear all that the other says", async () => {
  await listenIn("echo");
  await eventually("ls /deep/in/sockets").toBe("echo");
  expect(await host.exec(machine, `${stream} send ${seen.path}/echo 3000000`)).toBe(
    "heard 3000000 and 3000000 from 65534",
  );
  const many = `for n in 1 2 3 4 5 6 7 8; do ${stream} send ${seen.path}/echo 100000 & done; wait`;
  const said = await host.exec(machine, many);
  expect(said.split("\n")).toEqual(Array.from({ length: 8 }, () => "heard 100000 and 100000 from 65534"));
});

test("whoever may connect in a container may in a machine, and nobody listens where it may not", async () => {
  await listenIn("guarded");
  await listenIn("open");
  await eventually(`ls ${seen.path}`).toBe("echo\nguarded\nopen");
  await host.exec(box, "chown 7:8 /run/common/guarded; chmod 600 /run/common/guarded; chmod 666 /run/common/open");
  await host.exec(box, "ln -s /run/common/echo /run/common/link; touch /run/common/file; mkfifo /run/common/pipe");
  const owner = idMapped ? "7:8" : "65534:65534";
  await eventually(`stat -c '%n %u:%g %a' ${seen.path}/guarded`).toBe(`${seen.path}/guarded ${owner} 600`);
  expect(await host.exec(machine, `ls ${seen.path}`)).toBe("echo\nguarded\nopen");
  await host.exec(machine, "mkdir -p /etc; echo some:x:44:44::/:/bin/sh >> /etc/passwd");
  const asUser = (name: string) => host.exec(machine, `su some -c '${stream} send ${seen.path}/${name} 10'`);
  expect(await asUser("guarded")).toBe("connect: Permission denied");
  await expect.poll(() => asUser("open"), { timeout: 120_000 }).toBe("heard 10 and 10 from 65534");
  for (const make of [`${stream} listen ${seen.path}/mine`, `touch ${seen.path}/mine`, `rm ${seen.path}/open`]) {
    expect(await host.exec(machine, make)).toContain("Read-only file system");
  }
});

test("more connections than are carried at once wait, and each has its turn", async () => {
  const many = `for n in $(seq 48); do ${stream} send ${seen.path}/echo 50000 & done; wait`;
  const said = (await host.exec(machine, many)).split("\n");
  expect(said).toEqual(Array.from({ length: 48 }, () => "heard 50000 and 50000 from 65534"));
});

const hold = (name: string) =>
  host.exec(machine, `setsid ${stream} hold ${seen.path}/${name} > /tmp/${name}.held 2>&1 & echo`);

test("a connection ends with whom it leads to, and a socket that is gone is gone inside", async () => {
  const server = await listenIn("short");
  await eventually(`ls ${seen.path}/short`).toBe(`${seen.path}/short`);
  await hold("short");
  await eventually("cat /tmp/short.held").toBe("held");
  await host.exec(box, `kill -9 -${server}`);
  await eventually("cat /tmp/short.held").toBe("held\nended");
  // Its name is there still, and leads to nobody.
  expect(await host.exec(machine, `${stream} send ${seen.path}/short 0`)).toBe("heard 0 and");
  await host.exec(box, "rm /run/common/short");
  await eventually(`ls ${seen.path}/short`).toContain("No such file or directory");
});

test("a container's program connects to a machine's socket, where the machine may listen", async () => {
  await host.exec(box, `setsid ${stream} listen ${both.path}/box > /dev/null 2>&1 & echo`);
  await host.exec(machine, `setsid ${stream} listen ${both.path}/mine > /dev/null 2>&1 & echo`);
  await host.exec(machine, `touch ${both.path}/file; ln -s mine ${both.path}/link`);
  const inBox = (script: string) => expect.poll(() => host.exec(box, script), { timeout: 120_000 });
  await inBox(`ls ${both.path}`).toBe("box\nmine");
  await eventually(`ls ${both.path}`).toBe("box\nfile\nlink\nmine");
  expect(await host.exec(box, `${stream} send ${both.path}/mine 2000000`)).toBe("heard 2000000 and 2000000 from 65534");
  expect(await host.exec(machine, `${stream} send ${both.path}/box 300000`)).toBe("heard 300000 and 300000 from 65534");
  await host.exec(machine, `chown 9:10 ${both.path}/mine; chmod 640 ${both.path}/mine`);
  await inBox(`stat -c '%u:%g %a' ${both.path}/mine`).toBe(idMapped ? "9:10 640" : "65534:65534 640");
  await host.exec(machine, `rm ${both.path}/mine`);
  await inBox(`ls ${both.path}`).toBe("box");
});

test("connections end with the agent that carries them, and the next one carries others", async () => {
  await hold("echo");
  await eventually("cat /tmp/echo.held").toBe("held");
  await host.exec(machine, `setsid ${stream} listen ${both.path}/mine > /dev/null 2>&1 & echo`);
  const toMine = () => host.exec(box, `${stream} send ${both.path}/mine 300000`);
  await expect.poll(toMine, { timeout: 120_000 }).toBe("heard 300000 and 300000 from 65534");
  await host.killAgents();
  await host.startAgents();
  expect((await host.adopt()).split(" ")).toContain(machine.instanceId);
  await expect.poll(toMine, { timeout: 120_000 }).toBe("heard 300000 and 300000 from 65534");
  await eventually("cat /tmp/echo.held").toBe("held\nended");
  await listenIn("later");
  await eventually(`ls ${seen.path}/later`).toBe(`${seen.path}/later`);
  for (const name of ["echo", "later"]) {
    expect(await host.exec(machine, `${stream} send ${seen.path}/${name} 300000`)).toBe(
      "heard 300000 and 300000 from 65534",
    );
  }
});

test("a share that is taken away is gone at once, and nobody reaches it any more", async () => {
  await listenIn("taken");
  await eventually(`ls ${seen.path}/taken`).toBe(`${seen.path}/taken`);
  await hold("taken");
  await eventually("cat /tmp/taken.held").toBe("held");
  const gone = { state: "detached", busy: false, detail: null };
  expect(await host.reshare(machine, [])).toEqual([seen, both].map(({ shareId }) => ({ shareId, ...gone })));
  expect(await host.exec(box, `ls ${both.path}`)).toBe("box");
  expect(await host.exec(machine, `cat /tmp/taken.held; ls ${seen.path}; grep -c sockets /proc/mounts`)).toBe(
    "held\nended\n0",
  );
  await host.killAgents();
  await host.startAgents();
  await host.adopt();
  expect(await host.reshare(machine, [])).toEqual([]);
  expect(await host.reshare(machine, [seen])).toMatchObject([
    { state: "failed", detail: expect.any(String) as string },
  ]);
});

test("a machine that starts again finds what is there, and what it had made is gone", async () => {
  await host.end(machine);
  machine = await startMachine();
  await eventually(`ls ${seen.path}`).toBe("echo\nguarded\nlater\nopen\ntaken");
  expect(await host.exec(machine, `${stream} send ${seen.path}/echo 300000`)).toBe(
    "heard 300000 and 300000 from 65534",
  );
  await host.exec(machine, `setsid ${stream} listen ${both.path}/again > /dev/null 2>&1 & echo`);
  await expect.poll(() => host.exec(box, `ls ${both.path}`), { timeout: 120_000 }).toBe("again\nbox");
  await host.kill(machine);
  await expect.poll(() => host.exec(box, `ls ${both.path}`), { timeout: 120_000 }).toBe("box");
});
