import { rm } from "node:fs/promises";
import { busyboxImage } from "@bulkhead/testkit/images";
import { afterAll, expect, test } from "vitest";
import { MachineRig, sharedParts, testKernels } from "./testing/machine-rig.ts";

const shared = await sharedParts(await busyboxImage());
afterAll(() => rm(shared.directory, { recursive: true, force: true }));

test("a machine runs the image's program on a kernel of its own, and its end is the instance's", async () => {
  await using rig = await MachineRig.open(shared);
  const script = "uname -r; cat /etc/hostname; id -u; grep -c ^processor /proc/cpuinfo; echo to stderr >&2; exit 7";
  const run = await rig.start(rig.assignment({ command: ["sh", "-c", script] }));
  expect(await run.ended).toMatchObject({ reason: "Exited", exit: { exitCode: 7, signal: null } });
  const { release } = await testKernels.current();
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
  for (let round = 0; round < 100; ++round) {
    const begun = performance.now();
    const session = await run.exec({ command: ["true"], tty: false });
    expect(await session.ended).toMatchObject({ exitCode: 0 });
    // Each command's end closes the connection, so each needs a greeting of its own.
    const ms = performance.now() - begun;
    if (ms > 900) slow.push(ms);
  }
  // A greeting that is lost costs a second: the wait before the host connects again.
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
