import { readFileSync } from "node:fs";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { Digest } from "@bulkhead/contracts";
import { firstRangeId } from "@bulkhead/host";
import { busyboxImage, unrunnableImage } from "@bulkhead/testkit/images";
import { Rig } from "./testing/rig.ts";

let rig: Rig;
let busybox: Digest;

beforeAll(async () => {
  rig = await Rig.open();
  busybox = await rig.image(
    await busyboxImage({ files: { "/notes.txt": { content: "text\n", mode: 0o644 } }, users: { app: 1234 } }),
  );
});
afterEach(async () => {
  await rig.clear();
  await rig.refuseLeaks();
});
afterAll(() => rig[Symbol.asyncDispose]());

const shell = (script: string, changes: Parameters<Rig["assignment"]>[1] = {}) =>
  rig.assignment(busybox, { command: ["sh", "-c", script], ...changes });
const outputOf = async (script: string, changes: Parameters<Rig["assignment"]>[1] = {}): Promise<string[]> =>
  (await rig.run(shell(script, changes))).output.trimEnd().split("\n");

test("a container runs, prints, exits, and is known by its exit code", async () => {
  expect(await rig.run(shell("echo out; echo err >&2; exit 7"))).toEqual({
    output: expect.stringMatching(/^(out\nerr|err\nout)\n$/),
    reason: "Exited",
    exitCode: 7,
  });
  // cgroup v2 has no devices controller, and the plan says so.
  expect(rig.warnings.filter((warning) => !JSON.stringify(warning).includes("linux/resources/devices"))).toEqual([]);
});

describe("what a container sees", () => {
  test("it is root inside and nobody outside, with a full range of ids", async () => {
    const [uid, map] = await outputOf("id -u; cat /proc/self/uid_map");
    expect(uid).toBe("0");
    const [inside, outside, count] = map?.trim().split(/\s+/).map(Number) ?? [];
    expect([inside, count]).toEqual([0, 65_536]);
    expect(outside).toBeGreaterThanOrEqual(firstRangeId);
    const run = await rig.start(shell("exec sleep 1000"));
    const status = readFileSync(`/proc/${rig.pidOf(run)}/status`, "utf8");
    expect(Number(/^Uid:\s+(\d+)/m.exec(status)?.[1])).toBeGreaterThanOrEqual(firstRangeId);
  });

  test("its name, files and first process are its own", async () => {
    const [name, file, hosts, pid, processes, links] = await outputOf(
      "hostname; cat /etc/hostname; grep -c test-0 /etc/hosts; echo $$; ls -d /proc/[0-9]* | wc -l; ls /sys/class/net",
    );
    expect([name, file, hosts, pid, links]).toEqual(["test-0", "test-0", "1", "1", "lo"]);
    expect(Number(processes)).toBeLessThanOrEqual(3);
  });

  test("it holds Docker's capabilities, none inheritable, no new privileges, and a system call filter", async () => {
    const status = (await outputOf("cat /proc/self/status")).join("\n");
    const field = (name: string): string => new RegExp(`^${name}:\\s+(.*)$`, "m").exec(status)?.[1] ?? "";
    expect(field("CapEff")).toBe("00000000a80425fb");
    expect(field("CapBnd")).toBe("00000000a80425fb");
    expect(field("CapInh")).toBe("0000000000000000");
    expect(field("CapAmb")).toBe("0000000000000000");
    expect([field("NoNewPrivs"), field("Seccomp")]).toEqual(["1", "2"]);
  });

  test("kernel files about the host are covered, those that act on it are read-only", async () => {
    const output = await outputOf(
      "exec 2>&1; find /proc/acpi /sys/firmware /proc/scsi -mindepth 1 2>/dev/null | wc -l; echo 1 > /proc/sysrq-trigger; echo a > /proc/sys/kernel/core_pattern; " +
        "touch /sys/x; mount -t tmpfs x /mnt; unshare -U true; echo done",
    );
    expect(output.filter((line) => /Read-only|denied|not permitted/i.test(line)).length).toBeGreaterThanOrEqual(4);
    expect(output.at(-1)).toBe("done");
    expect(output[0]).toBe("0");
  });

  test("variables, working directory and HOME are those of spec, image and user", async () => {
    const [env, cwd, home] = await outputOf("echo $GREETING-$HOSTNAME; pwd; echo $HOME", {
      env: { GREETING: "hello" },
      workingDir: "/made/for/it",
      user: "app",
    });
    expect([env, cwd]).toEqual(["hello-test-0", "/made/for/it"]);
    expect(home).toBeTruthy();
  });

  test.each([
    ["app", "1234"],
    ["1234", "1234"],
    ["4000:5000", "4000"],
    ["", "0"],
  ])("the user %j is %s inside", async (user, uid) => {
    expect(await outputOf("id -u", { user })).toEqual([uid]);
  });

  test("a read-only root takes no file", async () => {
    const [answer] = await outputOf("touch /x 2>&1; cat /etc/hostname", { container: { readOnlyRoot: true } });
    expect(answer).toContain("Read-only file system");
  });
});

describe("a start that cannot succeed", () => {
  const failure = async (assignment: ReturnType<typeof shell>) =>
    rig.start(assignment).then(
      () => ({ reason: "started", message: "" }),
      (error: { reason: string; message: string }) => ({ reason: error.reason, message: error.message }),
    );

  test.each([
    [["/nope"], "EntrypointNotFound", '"/nope" is not in the image'],
    [["nope"], "EntrypointNotFound", "PATH="],
    [["/notes.txt"], "EntrypointNotExecutable", '"/notes.txt"'],
    [["/etc"], "EntrypointNotExecutable", '"/etc"'],
  ])("%j fails as %s and leaves nothing", async (command, reason, detail) => {
    const failed = await failure(rig.assignment(busybox, { command }));
    expect(failed.reason).toBe(reason);
    expect(failed.message).toContain(detail);
  });

  test.each([
    ["/bin/not-executable", "EntrypointNotExecutable"],
    ["/bin/wrong-architecture", "EntrypointWrongFormat"],
    ["/bin/empty", "EntrypointWrongFormat"],
    ["/bin/missing-interpreter", "EntrypointNotFound"],
  ])("%s is reported as %s", async (program, reason) => {
    const image = await rig.image(await unrunnableImage());
    expect((await failure(rig.assignment(image, { command: [program] }))).reason).toBe(reason);
  });

  test("a user that is not in the image is UserNotFound", async () => {
    expect(await failure(shell("true", { user: "stranger" }))).toMatchObject({
      reason: "UserNotFound",
      message: expect.stringContaining('"stranger"'),
    });
  });

  test("a file as working directory is WorkingDirUnusable", async () => {
    expect((await failure(shell("true", { workingDir: "/notes.txt" }))).reason).toBe("WorkingDirUnusable");
  });

  test("an image that is not there is ImageUnavailable", async () => {
    const missing = `sha256:${"0".repeat(64)}` as Digest;
    expect((await failure(rig.assignment(missing))).reason).toBe("ImageUnavailable");
  });

  test("a start that was given up before it began never begins", async () => {
    const assignment = shell("true");
    const key = { instanceId: assignment.instanceId, epoch: assignment.epoch, attempt: 0 };
    await expect(rig.runtime.start({ key, assignment }, AbortSignal.abort())).rejects.toMatchObject({
      name: "StartFailure",
    });
  });
});
