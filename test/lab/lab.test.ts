import { existsSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Lab } from "./lab.ts";

const briefly = { timeoutMs: 20_000 };
const leftOvers = (): string[] => readdirSync(tmpdir()).filter((name) => name.startsWith("bulkhead-lab-"));

describe("a lab host", () => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await Lab.boot();
  });
  afterAll(() => lab[Symbol.asyncDispose]());

  test("has its own kernel, cgroup v2 with every controller, and a KVM of hardware", async () => {
    const { stdout, stderr } = await lab.run(
      `uname -r; cat /sys/fs/cgroup/cgroup.controllers; grep -c svm /proc/cpuinfo
       cat /sys/module/kvm_amd/parameters/npt; stat -c %F /dev/kvm`,
      briefly,
    );
    expect(stderr).toBe("");
    const [release, controllers = "", cpus, nestedPaging, kvm] = stdout.trimEnd().split("\n");
    expect(release).toMatch(/^6\.1\..*-amd64$/);
    expect(controllers.split(" ")).toEqual(
      expect.arrayContaining(["cpuset", "cpu", "io", "memory", "hugetlb", "pids"]),
    );
    expect([cpus, nestedPaging, kvm]).toEqual(["4", "Y", "character special file"]);
  });

  test("answers with exit code and both streams, apart and unharmed", async () => {
    const said = await lab.run("printf 'out\\0\\377'; printf err >&2; exit 7", briefly);
    expect(said).toEqual({ code: 7, stdout: "out\0\ufffd", stderr: "err" });
    expect(await lab.run("kill -TERM $$", briefly)).toMatchObject({ code: 143 });
    const none = await lab.run(["/no/such/program"], briefly);
    expect(none).toMatchObject({ code: 127, stderr: expect.stringContaining("ENOENT") });
  });

  test("takes megabytes of input and gives them back", async () => {
    const text = `${"0123456789abcdef".repeat(64)}\n`.repeat(4096);
    const { code, stdout } = await lab.run(["cat"], { timeoutMs: 60_000, input: text });
    expect([code, stdout === text]).toEqual([0, true]);
  });

  test("runs commands at the same time, each with its own input, variables and directory", async () => {
    const both = await Promise.all([
      lab.run("read line; echo $line", { ...briefly, input: "first\n" }),
      lab.run("echo $WHO; pwd", { ...briefly, env: { WHO: "second" }, cwd: "/usr" }),
    ]);
    expect(both.map(({ stdout }) => stdout)).toEqual(["first\n", "second\n/usr\n"]);
  });

  test("kills what takes too long, with all that it started, and says what it printed", async () => {
    await expect(lab.run("echo begun; sleep 1000 & wait", { timeoutMs: 2_000 })).rejects.toThrow(
      /not over after 2000 ms and killed[^]*begun/,
    );
    expect(await lab.run("while pidof sleep; do :; done", briefly)).toMatchObject({ code: 0 });
  });

  test("sees this machine's files, and what it writes stays inside", async () => {
    const mark = `/root/bulkhead-lab-${process.pid}`;
    expect(await lab.run(["test", "-e", import.meta.filename], briefly)).toMatchObject({ code: 0 });
    expect(await lab.run(["touch", mark], briefly)).toMatchObject({ code: 0 });
    const outside = existsSync(mark);
    rmSync(mark, { force: true });
    expect(outside).toBe(false);
  });

  test("that goes away tells whoever waits, with its console's last words", async () => {
    const orphan = lab.run("sleep 1000", { timeoutMs: 60_000 }).then(() => "it ended", String);
    await lab.run("echo c > /proc/sysrq-trigger", { timeoutMs: 60_000 }).catch(() => null);
    expect(await orphan).toMatch(/the connection to the lab host ended/);
    expect(lab.console).toContain("sysrq triggered crash");
    await expect(lab.run("true", briefly)).rejects.toThrow(/the lab host is gone/);
  });
});

describe("a lab host that does not come up", () => {
  test.each([
    ["whose init fails", { modprobe: ["no_such_module"] }, /QEMU ended[^]*no_such_module not found/],
    ["with too little memory", { memoryMib: 24 }, /QEMU ended/],
    ["in time", { bootMs: 300 }, /it was not ready after 300 ms/],
  ] as const)("%s says why, with its console, and leaves nothing", async (_, options, why) => {
    const before = leftOvers();
    await expect(Lab.boot(options)).rejects.toThrow(why);
    expect(leftOvers()).toEqual(before);
  });
});
