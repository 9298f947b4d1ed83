// What the inside can do to the runtime while it starts a container or joins one.
import { createHash } from "node:crypto";
import { closeSync, openSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { dirname } from "node:path";
import { initPath } from "@bulkhead/native-namespaces";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { Stage, type RunningInstance } from "./stage.ts";

let stage: Stage;

beforeAll(async () => {
  stage = await Stage.open();
});
afterEach(async () => {
  await stage.rig.clear();
  await stage.rig.refuseLeaks();
});
afterAll(() => stage[Symbol.asyncDispose]());

const hashOf = (path: string): string => createHash("sha256").update(readFileSync(path)).digest("hex");
const nativeBinaries = (): string[] =>
  readdirSync(dirname(initPath))
    .filter((name) => /^bulkhead-|\.node$/.test(name))
    .map((name) => `${dirname(initPath)}/${name}`);
const idle = (): Promise<RunningInstance> => stage.rig.start(stage.shell("exec sleep 1000"));

describe("CVE-2016-9962, CVE-2019-5736: the process that joins", () => {
  test("cannot be traced, read, written or robbed of descriptors by root of the container", async () => {
    const before = nativeBinaries().map(hashOf);
    const run = await stage.ready(
      stage.assignment(["/attack/look"], { container: { capabilities: ["CAP_SYS_PTRACE", "CAP_KILL", "CAP_SETUID"] } }),
    );
    for (let round = 0; round < 60; ++round) {
      expect(await stage.exec(run, ["true"], round % 2 === 0 ? {} : { user: "1234" })).toBe("");
    }
    await run.stop(5_000);
    const lines = (await stage.rig.output(run)).trim().split("\n");
    const [, seen, tried] = /^seen (\d+) tried (\d+)$/.exec(lines.at(-1) ?? "") ?? [];
    // An attacker that saw nothing proves nothing.
    expect(Number(seen)).toBeGreaterThan(10);
    expect(Number(tried)).toBeGreaterThan(10);
    expect(lines.slice(1, -1)).toEqual([]);
    expect(nativeBinaries().map(hashOf)).toEqual(before);
  });

  test("is not what #!/proc/self/exe runs to any effect, and the next start is well", async () => {
    const before = nativeBinaries().map(hashOf);
    const script =
      "echo '#!/proc/self/exe' > /again; chmod +x /again; for i in 1 2 3; do (exec /again) 2>/dev/null; done; " +
      "for p in /proc/[0-9]*/exe /proc/self/exe; do (echo x > $p) 2>/dev/null && echo wrote $p; done; echo done";
    expect(await stage.output(script)).toBe("done\n");
    const direct = await stage.rig.start(stage.shell("echo '#!/proc/self/exe' > /again; chmod +x /again"));
    await direct.ended;
    expect(nativeBinaries().map(hashOf)).toEqual(before);
    expect(await stage.output("echo well")).toBe("well\n");
  });
});

describe("CVE-2024-21626 and every missed close-on-exec: descriptors", () => {
  test("the first process has its own three, however many its agent holds", async () => {
    const extra = Array.from({ length: 100 }, () => openSync("/", "r"));
    try {
      // No pipe between the two: the shell, which is the first process, would hold its ends for a moment.
      const script = "ls /proc/1/fd; ls -l /proc/1/fd > /tmp/seen; grep -c ' /$' /tmp/seen";
      expect(await stage.output(script)).toBe("0\n1\n2\n0\n");
      const run = await idle();
      expect(readdirSync(`/proc/${stage.rig.pidOf(run)}/fd`)).toEqual(["0", "1", "2"]);
      // ls itself holds the directory that it lists.
      const seen = await stage.exec(run, ["ls", "-l", "/proc/self/fd"]);
      expect(seen.match(/\d+ -> .*/g)?.filter((row) => !/^[012] -> pipe|^3 -> \/proc\//.test(row))).toEqual([]);
    } finally {
      for (const fd of extra) closeSync(fd);
    }
  });

  test("no working directory through /proc/self/fd leads out, at start or at exec", async () => {
    const run = await idle();
    for (let fd = 3; fd < 64; ++fd) {
      const workingDir = `/proc/self/fd/${fd}`;
      const refusal = await stage.exec(run, ["cat", "etc/shadow"], { workingDir }).catch((error: Error) => error);
      expect({ workingDir, refused: refusal instanceof Error }).toEqual({ workingDir, refused: true });
      if (fd % 8 !== 3) continue;
      await expect(stage.rig.start(stage.shell("true", { workingDir }))).rejects.toMatchObject({
        reason: "WorkingDirUnusable",
      });
    }
  });

  test("nor does a link, a link to the root of a process, or a directory that was taken away", async () => {
    const run = await stage.ready(
      stage.shell(
        "ln -s /proc/self/fd/7 /a; ln -s /proc/1/root/../../../.. /b; mkdir /gone; (cd /gone; rmdir /gone; echo ready; exec sleep 1000)",
      ),
    );
    await expect(stage.exec(run, ["true"], { workingDir: "/a" })).rejects.toMatchObject({ code: "EXEC_FAILED" });
    const [, at] = (await stage.exec(run, ["sh", "-c", "echo at; pwd; ls"], { workingDir: "/" })).split("\n");
    expect(at).toBe("/");
    // Out through a process's root is a magic link, which nothing of ours follows.
    await expect(stage.exec(run, ["true"], { workingDir: "/b" })).rejects.toMatchObject({ code: "EXEC_FAILED" });
    await expect(stage.exec(run, ["true"], { workingDir: "/proc/2/cwd" })).rejects.toMatchObject({
      code: "EXEC_FAILED",
    });
  });
});

describe("CVE-2022-29162, CVE-2022-24769, CVE-2022-27650, CVE-2025-27612: capabilities", () => {
  const fields = "grep -E '^Cap(Inh|Amb|Bnd)|^NoNewPrivs|^Seccomp:' /proc/self/status";
  const read = (text: string): Record<string, string> =>
    Object.fromEntries(
      text
        .trim()
        .split("\n")
        .map((line) => line.split(/:\s+/) as [string, string]),
    );

  test.each([
    ["root", {}],
    ["a user", { user: "app" }],
    ["root with more", { container: { capabilities: ["CAP_SYS_ADMIN", "CAP_NET_ADMIN"] } }],
  ])("%s inherits none, at start and at exec", async (_, changes) => {
    const run = await stage.ready(stage.shell(`${fields}; echo ready; exec sleep 1000`, changes));
    const started = read((await stage.rig.output(run)).replace("ready\n", ""));
    const executed = read(await stage.exec(run, ["sh", "-c", fields]));
    const none = "0000000000000000";
    expect(started).toMatchObject({ CapInh: none, CapAmb: none, NoNewPrivs: "1", Seccomp: "2" });
    expect(executed).toEqual(started);
  });
});

describe("CVE-2020-15257: the shim", () => {
  test("listens nowhere: no abstract socket, none in its directory, and its output is root's alone", async () => {
    const run = await idle();
    const init = stage.rig.pidOf(run);
    const shim = Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${init}/status`, "utf8"))?.[1]);
    const inodes = readdirSync(`/proc/${shim}/fd`).flatMap(
      (fd) => /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${shim}/fd/${fd}`))?.[1] ?? [],
    );
    const known = readFileSync("/proc/net/unix", "utf8")
      .split("\n")
      .map((row) => row.trim().split(/\s+/));
    for (const inode of inodes) {
      const [, , , flags, , , , name] = known.find((row) => row[6] === inode) ?? [];
      // A half of a pair: it accepts nobody (SO_ACCEPTCON is 0x10000) and has no name that anybody could connect to.
      expect({ flags, name }).toEqual({ flags: "00000000", name: undefined });
    }
    expect(known.filter(([, , , , , , , name]) => name?.startsWith("@") && /bulkhead/.test(name))).toEqual([]);
    const field = (name: string) =>
      new RegExp(`^${name}:\\s+(\\S+)`, "m").exec(readFileSync(`/proc/${shim}/status`, "utf8"))?.[1];
    // A moment after it said that the program runs, CAP_KILL alone is left, to end what it watches.
    await expect.poll(() => field("CapPrm"), { timeout: 30_000 }).toBe("0000000000000020");
    await expect.poll(() => field("NoNewPrivs"), { timeout: 30_000 }).toBe("1");
  });
});
