import { rm } from "node:fs/promises";
import type { Assignment } from "@bulkhead/contracts";
import { formatCpuList, readTopology, usableCpus } from "@bulkhead/host";
import { busyboxImage } from "@bulkhead/testkit/images";
import { afterAll, expect, test } from "vitest";
import { engine, MachineRig, sharedParts, testKernels } from "./testing/machine-rig.ts";
import { hugeBytesOf, HugePages } from "./testing/huge-pages.ts";
import { monitorOf, threadsOf } from "./testing/monitor.ts";

const shared = await sharedParts(await busyboxImage());
afterAll(() => rm(shared.directory, { recursive: true, force: true }));

test("a machine runs the image's program on a kernel of its own, and its end is the instance's", async () => {
  await using rig = await MachineRig.open(shared);
  const script = "uname -r; cat /etc/hostname; id -u; grep -c ^processor /proc/cpuinfo; echo to stderr >&2; exit 7";
  const run = await rig.start(rig.assignment({ command: ["sh", "-c", script] }));
  expect(await run.ended).toMatchObject({ reason: "Exited", exit: { exitCode: 7, signal: null } });
  const { release } = await testKernels.current();
  expect(run.machine).toMatchObject({ engine: engine.name, kernel: release, cpus: 1, pinned: false });
  const lines = (await rig.output(run)).trim().split("\n");
  expect(lines.toSorted()).toEqual([release, "test-0", "0", "1", "to stderr"].toSorted());
});

test("its clock is the host's at every connection, whatever it was before", async () => {
  await using rig = await MachineRig.open(shared);
  const run = await rig.start(rig.assignment({ command: ["sleep", "1000"] }));
  const set = await run.exec({ command: ["date", "-s", "2001-01-01 00:00"], tty: false });
  expect(await set.ended).toMatchObject({ exitCode: 0 });
  const now = Math.floor(Date.now() / 1000);
  const command = ["sh", "-c", `now=$(date +%s) && [ $now -ge ${now - 1} ] && [ $now -le ${now + 120} ]`];
  const look = await run.exec({ command, tty: false });
  expect(await look.ended).toMatchObject({ exitCode: 0 });
  await run.stop(0);
});

test("its agent greets at every connection, however fast one follows the other", async () => {
  await using rig = await MachineRig.open(shared);
  const run = await rig.start(rig.assignment({ command: ["sleep", "1000"] }));
  const slow: number[] = [];
  // A greeting that is lost costs a second: the wait before the host connects again. On emulated hosts, where machines of
  // our own monitor run, a command alone may take as long; there each connection has a stream of its own anyway.
  const limitMs = engine.name === "kvm" ? 5_000 : 900;
  for (let round = 0; round < 100; ++round) {
    const begun = performance.now();
    const session = await run.exec({ command: ["true"], tty: false });
    expect(await session.ended).toMatchObject({ exitCode: 0 });
    // Each command's end closes the connection, so each needs a greeting of its own.
    const ms = performance.now() - begun;
    if (ms > limitMs) slow.push(ms);
  }
  expect(slow).toEqual([]);
  await run.stop(0);
});

test("its monitor has nothing of the host open but what is the machine's, and leaves nothing when it is killed", async () => {
  await using rig = await MachineRig.open(shared);
  const assignment = rig.assignment({ command: ["sleep", "1000"] });
  const run = await rig.start(assignment);
  const { pid, machine, seccomp } = await run.view("kernel");
  const own = /^(\/machine\/|\/dev\/|anon_inode:|pipe$|socket$)/;
  expect(machine?.files.filter(({ target }) => !own.test(target))).toEqual([]);
  expect(machine?.files).toContainEqual({ target: "/machine/scratch", mode: "rw", count: 1 });
  expect(machine?.files).toContainEqual({ target: "/machine/image", mode: "r", count: 1 });
  expect(seccomp).toMatchObject({ mode: "filter", from: "kernel" });
  expect(seccomp.allowed).not.toContain("mount");
  process.kill(pid, "SIGKILL");
  const detail: unknown = expect.stringMatching(/monitor ended.*SIGKILL/);
  expect(await run.ended).toMatchObject({ reason: "RuntimeFailed", detail });
  await run.release();
  await rig.runtime.remove(assignment.instanceId);
  const again = await rig.start({ ...assignment, spec: { ...assignment.spec, command: ["true"] } });
  expect(await again.ended).toMatchObject({ reason: "Exited", exit: { exitCode: 0 } });
});

const twoProcessors = { cpuMillis: 2000, memoryBytes: 160 * 2 ** 20 };

test("a kernel that panics is told from every other end", async () => {
  await using rig = await MachineRig.open(shared);
  const run = await rig.start(rig.assignment({ command: ["sh", "-c", "sleep 1; echo c > /proc/sysrq-trigger"] }));
  const { exit, reason, detail } = await run.ended;
  expect([exit.exitCode, reason]).toEqual([null, "RuntimeFailed"]);
  expect(detail).toMatch(/^the guest's kernel panicked/);
  expect(await rig.output(run)).toContain("Kernel panic - not syncing: sysrq triggered crash");
});

test("a machine has the processors it was given, and nothing of what it says is lost", async () => {
  await using rig = await MachineRig.open(shared);
  const script = "nproc >&2; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo line $i of many; done";
  const run = await rig.start(rig.assignment({ command: ["sh", "-c", script], resources: twoProcessors }));
  expect(await run.ended).toMatchObject({ reason: "Exited", exit: { exitCode: 0 } });
  const lines = (await rig.output(run)).trim().split("\n");
  expect(lines.filter((line) => !line.startsWith("line "))).toEqual(["2"]);
  const said = lines.filter((line) => line.startsWith("line "));
  expect(said.findIndex((line, at) => line !== `line ${at + 1} of many`)).toBe(-1);
  expect(said).toHaveLength(20_000);
});

test("a machine under load uses no more than it has and its monitor may", async () => {
  await using rig = await MachineRig.open(shared);
  const resources = { cpuMillis: 400, cpuLimitMillis: 400, memoryBytes: 128 * 2 ** 20 };
  const load = "cat /dev/zero | head -c 1G | tail & while :; do :; done";
  const run = await rig.start(rig.assignment({ command: ["sh", "-c", load], resources }));
  const [from, begun] = [run.usage().cpuUsageNs, performance.now()];
  await expect.poll(() => run.usage().cpuUsageNs - from, { timeout: 120_000, interval: 50 }).toBeGreaterThan(3e9);
  const used = (run.usage().cpuUsageNs - from) / 1e6 / (performance.now() - begun);
  const { emulatorMillis, overheadBytes, overheadBytesPerMib } = engine.overhead;
  // The kernel hands a quota out in slices, and may lend one.
  expect(used * 1000).toBeLessThan((resources.cpuLimitMillis + emulatorMillis) * 1.1);
  expect(run.usage().throttledPeriods).toBeGreaterThan(0);
  const limitBytes = resources.memoryBytes + 128 * overheadBytesPerMib + overheadBytes;
  expect(run.usage().memoryPeakBytes).toBeLessThanOrEqual(limitBytes);
  expect(run.checkContract()).toEqual({ held: true, violations: [] });
  await run.stop(0);
});

/** What the kernel says of a machine whose memory is locked and whose one processor has a CPU of its own. */
const placesOf = async (rig: MachineRig, assignment: Assignment): Promise<object> => {
  const run = await rig.start(assignment);
  const { pid, lockedBytes, rings, boundTo } = monitorOf(assignment.instanceId);
  const threads = threadsOf(pid).filter(({ name }) => !name.startsWith("iou-"));
  const processors = threads.filter(({ name }) => name.startsWith("vcpu "));
  const others = new Set(threads.filter((thread) => !processors.includes(thread)).map(({ cpus }) => cpus));
  const contract = run.checkContract();
  const { monitorApart } = run.machine ?? {};
  await run.stop(0);
  const locked = lockedBytes >= assignment.spec.resources.memoryBytes;
  return { locked, processors, others: [...others], monitorApart, rings, boundTo, contract };
};

test("what only our own monitor holds is held by it, and refused by another engine", async () => {
  await using rig = await MachineRig.open(shared);
  const resources = { cpuMillis: 1000, cpuPolicy: "dedicated", memoryBytes: 160 * 2 ** 20 } as const;
  const assignment = rig.assignment({ command: ["sleep", "1000"], resources, vm: { memoryPolicy: "locked" } });
  const places = placesOf(rig, { ...assignment, cpuIds: [1] });
  const { cpus, nodes } = readTopology();
  expect(await places.catch((error: Error) => error.message)).toEqual(
    engine.holdsPlaces
      ? {
          locked: true,
          processors: [{ name: "vcpu 0", cpus: "1" }],
          others: [formatCpuList(usableCpus().filter((cpu) => cpu !== 1))],
          monitorApart: true,
          rings: 4,
          boundTo: nodes.length < 2 ? [] : [String(cpus.find(({ id }) => id === 1)?.numaNodeId)],
          contract: { held: true, violations: [] },
        }
      : "the engine qemu cannot lock a machine's memory or give it large pages",
  );
});

test("only our own monitor makes a machine's memory of large pages, all of it", async () => {
  await using rig = await MachineRig.open(shared);
  const resources = { cpuMillis: 1000, memoryBytes: 160 * 2 ** 20 } as const;
  using _ = engine.holdsPlaces ? HugePages.reserve(resources.memoryBytes) : null;
  const assignment = rig.assignment({ command: ["sleep", "1000"], resources, vm: { hugepages: true } });
  const begun = rig.start(assignment).then(async (run) => {
    const bytes = hugeBytesOf(monitorOf(assignment.instanceId).pid);
    await run.stop(0);
    return bytes;
  });
  expect(await begun.catch((error: Error) => error.message)).toEqual(
    engine.holdsPlaces
      ? resources.memoryBytes
      : "the engine qemu cannot lock a machine's memory or give it large pages",
  );
});
