// What the inside asks of the kernel, and of other containers.
import { existsSync, readFileSync } from "node:fs";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { Stage } from "./stage.ts";

let stage: Stage;

beforeAll(async () => {
  stage = await Stage.open();
});
afterEach(async () => {
  await stage.rig.clear();
  await stage.rig.refuseLeaks();
});
afterAll(() => stage[Symbol.asyncDispose]());

describe("CVE-2022-0185, CVE-2022-0492 and the calls around them", () => {
  test("root with the default capabilities is given none of it, by no architecture's numbers", async () => {
    const { output } = await stage.rig.run(stage.assignment(["/attack/kernel"]));
    const given = Object.entries(Stage.answers(output)).filter(([, errno]) => errno === 0);
    expect(given).toEqual([]);
    expect(Object.keys(Stage.answers(output)).length).toBeGreaterThan(30);
  });

  test("root with every capability gets what lies in its own namespaces, and nothing of the host's", async () => {
    const capabilities = ["CAP_SYS_ADMIN", "CAP_SYS_RAWIO", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_MKNOD", "CAP_SYSLOG"];
    const { output } = await stage.rig.run(stage.assignment(["/attack/kernel"], { container: { capabilities } }));
    const answers = Stage.answers(output);
    const hosts = ["keyctl-session", "keyctl-search", "add_key", "request_key", "open_by_handle_at", "mknod-disk"];
    const more = ["mknod-kmsg", "sysrq", "core_pattern", "uevent_helper", "reboot", "swapon", "syslog", "nice"];
    expect([...hosts, ...more].filter((name) => answers[name] === 0)).toEqual([]);
  });

  test("release_agent cannot be set, neither through the mounted hierarchies nor through one of its own", async () => {
    const script =
      "for f in $(find /sys/fs/cgroup -name release_agent -o -name notify_on_release 2>/dev/null); do echo /evil > $f && echo set $f; done; " +
      "mkdir -p /c; for c in memory cpu pids devices freezer; do mount -t cgroup -o $c c /c && (echo /evil > /c/release_agent && echo own $c); done; echo end";
    expect((await stage.output(`(${script}) 2>/dev/null`)).trim()).toBe("end");
    const admin = await stage.output(`(${script}) 2>/dev/null`, { container: { capabilities: ["CAP_SYS_ADMIN"] } });
    expect(admin.split("\n").filter((line) => /^(set|own) /.test(line) && !line.includes("notify_on_release"))).toEqual(
      [],
    );
  });

  test("a process cannot leave its cgroup or raise its limits", async () => {
    const script =
      "find /sys/fs/cgroup \\( -name cgroup.procs -o -name tasks -o -name memory.limit_in_bytes -o -name memory.max -o -name pids.max \\) | " +
      "while read f; do (echo 1 > $f) 2>/dev/null && echo wrote $f; done; mkdir /sys/fs/cgroup/x 2>/dev/null && echo made; cat /proc/self/cgroup";
    const output = await stage.output(script);
    expect(output).not.toMatch(/wrote|made/);
    // Each hierarchy's root is its own cgroup: it does not even see a way up.
    expect(
      output
        .trim()
        .split("\n")
        .filter((row) => !row.endsWith(":/")),
    ).toEqual([]);
  });

  test("nor through a hierarchy that it mounts for itself", async () => {
    const script =
      "mkdir /c; for k in cgroup2 'cgroup -o memory' 'cgroup -o pids' 'cgroup -o devices'; do mount -t $k c /c || continue; " +
      "find /c -type f | while read f; do for v in 0 1 max 0::max '+memory'; do (echo $v > $f) && echo wrote $f; done; done; " +
      "mkdir /c/x && echo made; umount /c; done; echo end";
    const output = await stage.output(`(${script}) 2>/dev/null`, { container: { capabilities: ["CAP_SYS_ADMIN"] } });
    expect(output).toBe("end\n");
  });
});

describe("what containers of one host share", () => {
  test("is no System V or POSIX IPC, no abstract socket, and no keyring", async () => {
    const first = await stage.ready(
      stage.shell("touch /dev/mqueue/queue /dev/shm/memory; echo ready; exec sleep 1000"),
    );
    const second = await stage.output(
      "ls -A /dev/mqueue /dev/shm | grep -v :; cat /proc/sysvipc/shm | wc -l; cat /proc/net/unix | wc -l",
    );
    expect(
      second
        .trim()
        .split("\n")
        .filter((line) => line !== ""),
    ).toEqual(["1", "1"]);
    expect(await stage.exec(first, ["ls", "/dev/mqueue"])).toBe("queue\n");
  });

  test("is no process: neither is there to be seen, signalled or traced", async () => {
    const first = await stage.rig.start(stage.shell("exec sleep 1000"));
    const output = await stage.output(
      `kill -9 ${stage.rig.pidOf(first)} 2>/dev/null && echo hit; kill -9 -1; echo left`,
    );
    expect(output).not.toContain("hit");
    expect(existsSync(`/proc/${stage.rig.pidOf(first)}`)).toBe(true);
  });

  test("is no user: their ranges of ids do not touch", async () => {
    const ranges = await Promise.all(
      [1, 2, 3].map(async () => {
        const run = await stage.rig.start(stage.shell("exec sleep 1000"));
        const [, outside = 0, count = 0] = readFileSync(`/proc/${stage.rig.pidOf(run)}/uid_map`, "utf8")
          .trim()
          .split(/\s+/)
          .map(Number);
        return { first: outside, end: outside + count };
      }),
    );
    const sorted = ranges.sort((one, other) => one.first - other.first);
    expect(sorted.every(({ first }, index) => index === 0 || first >= (sorted[index - 1]?.end ?? 0))).toBe(true);
  });
});

describe("CVE-2025-52565: terminals", () => {
  test("are the container's own devpts, also when its root lays something over /dev/pts", async () => {
    const run = await stage.ready(
      stage.shell(
        "mkdir /fake; : > /fake/ptmx; mount -o bind /fake /dev/pts && echo covered; echo ready; exec sleep 1000",
        { container: { capabilities: ["CAP_SYS_ADMIN", "CAP_MKNOD"] } },
      ),
    );
    expect(await stage.rig.output(run)).toContain("covered");
    await expect(run.exec({ command: ["tty"], tty: true })).rejects.toMatchObject({ code: "EXEC_FAILED" });
    const fair = await stage.rig.start(stage.shell("exec sleep 1000"));
    expect((await stage.exec(fair, ["tty"], { tty: true })).trim()).toMatch(/^\/dev\/pts\/\d+$/);
  });
});

describe("core dumps", () => {
  test("reach no program of the host by default: 1 is the limit that also stops a core_pattern with a pipe", async () => {
    const run = await stage.rig.start(stage.shell("exec sleep 1000"));
    const limits = readFileSync(`/proc/${stage.rig.pidOf(run)}/limits`, "utf8");
    expect(limits).toMatch(/^Max core file size\s+1\s+1\s/m);
  });
});
