import { randomBytes } from "node:crypto";
import { readFileSync, readlinkSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { text } from "node:stream/consumers";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { uuidV7, type AssignedNamespaces, type Assignment, type Digest, type InstanceId } from "@bulkhead/contracts";
import type { Run } from "@bulkhead/node";
import { busyboxImage } from "@bulkhead/testkit/images";
import type { ContainerRun } from "./run.ts";
import { Rig, type SpecChanges } from "./testing/rig.ts";

let rig: Rig;
let busybox: Digest;

beforeAll(async () => {
  rig = await Rig.open();
  busybox = await rig.image(await busyboxImage());
});
afterEach(async () => {
  await rig.clear();
  // Records of shares and ranges of ids are files, and so leaks as others.
  await rig.refuseLeaks();
});
afterAll(() => rig[Symbol.asyncDispose]());

const newShare = (...namespaces: AssignedNamespaces["namespaces"]): AssignedNamespaces => ({
  shareId: uuidV7(Date.now(), randomBytes(10)),
  name: "pod",
  namespaces,
  ...(namespaces.includes("ipc") ? { sizeBytes: 2 ** 20 } : {}),
});
const assignmentOf = (script: string, share: AssignedNamespaces | null, changes: SpecChanges = {}): Assignment => ({
  ...rig.assignment(busybox, { command: ["sh", "-c", script], ...changes }),
  ...(share === null ? {} : { namespaces: share }),
});
const start = (script: string, share: AssignedNamespaces | null): Promise<Run> =>
  rig.start(assignmentOf(script, share));
const outputOf = async (script: string, share: AssignedNamespaces | null): Promise<string> =>
  (await rig.run(assignmentOf(script, share))).output;
const linkOf = (run: Run, type: string): string => readlinkSync(`/proc/${rig.pidOf(run)}/ns/${type}`);
const end = async (run: Run): Promise<void> => {
  await run.stop(0);
  await run.release();
  await rig.runtime.remove(run.key.instanceId);
  await rig.runtime.settled();
};
const idle = "exec sleep 1000";

test("members of one network answer each other on loopback, and nobody else does", async () => {
  const pod = newShare("network");
  const server = await start("echo hello > /tmp/index.html; exec httpd -f -p 127.0.0.1:80 -h /tmp", pod);
  const ask = "wget -q -O - http://127.0.0.1/index.html 2>&1 || echo refused";
  await expect.poll(() => outputOf(ask, pod), { timeout: 20_000 }).toBe("hello\n");
  expect(await outputOf(ask, null)).toMatch(/refused\n$/);
  expect(await outputOf(ask, newShare("network"))).toMatch(/refused\n$/);
  // What is not shared is each one's own.
  const other = await start(idle, pod);
  expect(linkOf(other, "net")).toBe(linkOf(server, "net"));
  for (const type of ["mnt", "pid", "ipc", "uts", "cgroup"]) expect(linkOf(other, type)).not.toBe(linkOf(server, type));
});

test("members of one IPC namespace see the same queues and the same /dev/shm of the share's size", async () => {
  const pod = newShare("ipc");
  const first = await start("echo from-one > /dev/shm/word; mkfifo /dev/shm/ready; exec sleep 1000", pod);
  const look = "cat /dev/shm/word; df -k /dev/shm | tail -1; ls /dev/mqueue; wc -l < /proc/sysvipc/shm";
  await expect.poll(() => outputOf(look, pod), { timeout: 20_000 }).toMatch(/^from-one\n.* 1024 /);
  expect(linkOf(first, "ipc")).toBe(linkOf(await start(idle, pod), "ipc"));
  expect(await outputOf("ls /dev/shm; cat /dev/shm/word 2>&1", null)).toContain("No such file");
  const view = await first.view("plan");
  expect(view.mounts.find(({ target }) => target === "/dev/shm")).toMatchObject({ mode: "rw" });
});

test("members of one pid namespace see and signal each other's processes; each ends alone, with all of its own", async () => {
  const pod = newShare("pid");
  const sleeper = await start("sleep 4321 & exec sleep 1234", pod);
  await expect.poll(() => outputOf("ps -o args | grep -c '^sleep 1234$'", pod), { timeout: 20_000 }).toBe("1\n");
  expect(await outputOf("ps -o args | grep -c '^sleep 1234$'", null)).toBe("0\n");
  const witness = await start(idle, pod);
  // One user namespace: root of one is root of the other.
  expect(
    await outputOf(
      "kill -TERM $(pidof sleep | tr ' ' '\\n' | while read p; do grep -qa 1234 /proc/$p/cmdline && echo $p; done)",
      pod,
    ),
  ).toBe("");
  const ended = await sleeper.ended;
  expect(ended.exit).toMatchObject({ signal: 15 });
  // The background process of the one that ended is gone, the other member is not.
  await expect.poll(() => outputOf("ps -o args | grep -c '^sleep 4321$'", pod), { timeout: 20_000 }).toBe("0\n");
  expect(readFileSync(`/proc/${rig.pidOf(witness)}/cmdline`, "utf8")).toContain("sleep");
  // The holder is process 1 of all, and nothing can be learnt from it or done to it.
  const one = await outputOf(
    "cat /proc/1/comm; ls /proc/1/root/ /proc/1/fd 2>&1; kill -KILL 1; sleep 0.1; cat /proc/1/comm",
    pod,
  );
  expect(one).toBe("bulkhead-hold\nls: /proc/1/root/: Permission denied\n/proc/1/fd:\nbulkhead-hold\n");
});

test("members of one UTS namespace have the share's name as host name", async () => {
  const pod = newShare("uts");
  expect(await outputOf("hostname; cat /etc/hostname; echo $HOSTNAME", pod)).toBe("pod\npod\npod\n");
});

const rangesHeld = async (): Promise<string[]> =>
  (await readdir(rig.paths.uidRanges)).filter((name) => name.includes("@"));

test("members have one range of ids, which is free when the last has gone", async () => {
  const pod = newShare("network", "ipc", "pid", "uts");
  const [one, two] = [await start(idle, pod), await start(idle, pod)];
  expect(linkOf(one, "user")).toBe(linkOf(two, "user"));
  expect((one as ContainerRun).record.uidRange).toEqual((two as ContainerRun).record.uidRange);
  expect(await rangesHeld()).toHaveLength(1);
  await end(one);
  expect(await rangesHeld()).toHaveLength(1);
  expect(two.checkContract()).toEqual({ held: true, violations: [] });
  await expect(rig.runtime.removeShare(pod.shareId)).rejects.toMatchObject({ code: "SHARE_IN_USE" });
  await end(two);
  await expect.poll(rangesHeld).toEqual([]);
});

test("a member that starts again, under a new agent too, is in the same namespaces", async () => {
  const pod = newShare("network", "pid");
  const assignment = assignmentOf(idle, pod);
  const first = await rig.start(assignment);
  const [net, pid] = [linkOf(first, "net"), linkOf(first, "pid")];
  await first.stop(0);
  await first.release();
  // Nobody is in them now but their holder.
  await rig.reopen();
  const again = await rig.start(assignment, 1);
  expect([linkOf(again, "net"), linkOf(again, "pid")]).toEqual([net, pid]);
  await rig.reopen();
  const [adopted] = await rig.runtime.list();
  expect(adopted?.checkContract()).toEqual({ held: true, violations: [] });
  expect(linkOf(await start(idle, pod), "net")).toBe(net);
});

test("a view says which namespaces are shared, with whom and by which share; exec enters them", async () => {
  const pod = newShare("network", "uts");
  const [one, two] = [await start(idle, pod), await start(idle, pod)];
  const { namespaces } = await one.view("plan");
  expect(namespaces.filter(({ share }) => share !== undefined)).toMatchObject(
    ["net", "uts", "user"].map((type) => ({
      type,
      own: false,
      share: "pod",
      instances: [{ instanceId: two.key.instanceId }],
      hostProcesses: { count: 1, examples: [{ command: "bulkhead-hold" }] },
    })),
  );
  expect(namespaces.find(({ type }) => type === "pid")).toMatchObject({ own: true, instances: [] });
  const session = await one.exec({ command: ["readlink", "/proc/self/ns/net"], tty: false });
  expect((await text(session.stdout)).trim()).toBe(linkOf(two, "net"));
});

test("when the holder is killed its members' contract is broken, and those that start get namespaces anew", async () => {
  const pod = newShare("network");
  const old = await start(idle, pod);
  const holder = rig.runtime.shares.namespaces.find(pod.shareId);
  process.kill(holder?.pid ?? 0, "SIGKILL");
  await expect.poll(() => rig.runtime.shares.namespaces.find(pod.shareId)).toBeNull();
  expect(old.checkContract().violations).toEqual(["nothing holds the namespaces of share pod any more"]);
  const fresh = await start(idle, pod);
  expect(linkOf(fresh, "net")).not.toBe(linkOf(old, "net"));
  expect(old.checkContract().violations).toContain("is not in the net namespace of share pod");
  expect(fresh.checkContract().held).toBe(true);
});

test("what an agent that was killed in the middle of a start noted of shares is gone with the next agent", async () => {
  const pod = newShare("network", "ipc");
  const nobody = newShare().shareId as InstanceId;
  await rig.runtime.shares.join(pod, nobody);
  const memory = {
    shareId: newShare().shareId,
    kind: "shared-memory",
    sizeBytes: 2 ** 20,
    lifetime: "transient",
  } as const;
  await rig.runtime.shares.use({ ...memory, owner: { uid: 0, gid: 0 }, mode: "1777" }, nobody);
  expect(await readdir(rig.paths.shares)).toHaveLength(2);
  await rig.reopen();
  await rig.runtime.list();
  await rig.runtime.settled();
  expect(await readdir(rig.paths.shares)).toEqual([]);
});
