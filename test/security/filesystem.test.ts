// Hostile images and hostile volumes: nothing on the host is written, and nothing of the host is seen.
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { busyboxImage, symlinkedDirectoryImage, type MountedDirectory } from "@bulkhead/testkit/images";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { Canary, Stage, type Changes } from "./stage.ts";

/** Starts against a racing volume: what fits a test run. `npm run test:races` makes 10,000. */
const racingStarts = Number(process.env["BULKHEAD_RACING_STARTS"] ?? "250");
/** Starts, and mounts in each, while somebody leads mounts over /proc, /sys and /dev: 4,000 races. */
const detours = { starts: 250, mounts: 16 };

let stage: Stage;
let canary: Canary;

beforeAll(async () => {
  stage = await Stage.open();
});
beforeEach(() => {
  canary = new Canary();
});
afterEach(async () => {
  await stage.rig.clear();
  canary.refuseChanges();
  canary[Symbol.dispose]();
  await stage.rig.refuseLeaks();
});
afterAll(() => stage[Symbol.asyncDispose]());

const attempt = async (image: Awaited<ReturnType<Stage["rig"]["image"]>>, script: string, changes: Changes = {}) => {
  const assignment = stage.rig.assignment(image, { command: ["sh", "-c", script], ...changes });
  return stage.rig.run(assignment).then(
    ({ output }) => ({ output, reason: "" }),
    ({ reason }: { reason: string }) => ({ output: "", reason }),
  );
};

describe("CVE-2019-16884, CVE-2019-19921, CVE-2023-27561, CVE-2023-28642, CVE-2026-41579, CVE-2026-47766", () => {
  test.each<[MountedDirectory, "absolute" | "relative"]>([
    ["/proc", "absolute"],
    ["/proc", "relative"],
    ["/sys", "absolute"],
    ["/sys", "relative"],
    ["/dev", "absolute"],
    ["/dev", "relative"],
  ])("an image whose %s is a link (%s) to the host is refused, its decoys untouched", async (directory, kind) => {
    const target = kind === "absolute" ? canary.path : `../../../../../../../../..${canary.path}`;
    const image = await stage.rig.image(await symlinkedDirectoryImage(directory, target));
    expect((await attempt(image, "true")).reason).toBe("MountFailed");
    await stage.rig.runtime.settled();
  });

  test.each(["/proc", "/proc/sys", "/proc/self/attr", "/sys", "/sys/fs/cgroup", "/dev", "/dev/null", "/proc/../proc"])(
    "no volume may be put on %s",
    async (path) => {
      const refused = stage.rig.start(stage.shell("true", { mounts: [{ hostPath: stage.shared, path }] }));
      await expect(refused).rejects.toMatchObject({ reason: "MountNotAllowed" });
    },
  );

  test("nor reach there by a link of the image", async () => {
    const image = await stage.rig.image(
      await busyboxImage({ layers: [{ links: { "/door": "/proc", "/way": "../../../../proc/self" } }], name: "door" }),
    );
    for (const path of ["/door", "/door/sys", "/way/attr"]) {
      // On a covered /proc nothing is masked any more.
      const { reason } = await attempt(image, "true", { mounts: [{ hostPath: stage.shared, path }] });
      expect({ path, reason }).toEqual({ path, reason: "MountFailed" });
    }
  });
});

describe("CVE-2019-18837, CVE-2025-24965: files the runtime itself puts into the root", () => {
  test.each(["hosts", "hostname"])("/etc/%s as a link to the host leads nowhere", async (name) => {
    const image = await stage.rig.image(
      await busyboxImage({
        layers: [{ remove: [`/etc/${name}`] }, { links: { [`/etc/${name}`]: join(canary.path, name) } }],
        name: `link-${name}`,
      }),
    );
    const { output } = await attempt(image, `cat /etc/${name}; echo over > /etc/${name}`);
    expect(output).not.toContain("canary");
  });
});

describe("CVE-2025-31133: masks", () => {
  test("are the real null device and an empty file system, whatever the image has at /dev/null", async () => {
    const image = await stage.rig.image(
      await busyboxImage({
        layers: [{ remove: ["/dev/null"] }, { links: { "/dev/null": "/proc/sysrq-trigger" } }],
        name: "fake-null",
      }),
    );
    const { output } = await attempt(
      image,
      "for f in /proc/keys /proc/timer_list; do stat -L -c '%t:%T' $f; head -c 1 $f | wc -c; done; ls -A /sys/firmware | wc -l",
    );
    expect(output.trim().split("\n")).toEqual(["1:3", "0", "1:3", "0", "0"]);
  });

  test("cannot be taken away or replaced from inside", async () => {
    const output = await stage.output(
      "for f in /proc/timer_list /proc/keys /dev/null; do (umount $f || mv $f /moved || rm -f $f) 2>/dev/null; done; " +
        "stat -L -c '%t:%T' /proc/timer_list /proc/keys; echo x > /proc/sys/kernel/core_pattern; (: > /proc/sysrq-trigger) 2>/dev/null || echo refused",
    );
    expect(output).toContain("1:3\n1:3\n");
    expect(output).toContain("Read-only file system");
  });
});

describe("CVE-2017-1002101, CVE-2021-30465, CVE-2024-45310, CVE-2018-15664, CVE-2024-0132: racing exchange", () => {
  test(
    `a mount below a volume whose directories turn into links, ${racingStarts} times`,
    async () => {
      const volume = join(stage.shared, "race");
      mkdirSync(join(volume, "real/deep"), { recursive: true });
      symlinkSync(canary.path, join(volume, "fake"));
      writeFileSync(join(stage.shared, "payload"), "payload\n");
      const racer = await stage.ready(
        stage.assignment(["/attack/exchange", "/v/real", "/v/fake"], {
          mounts: [{ hostPath: volume, path: "/v", readOnly: false }],
        }),
      );
      const outcomes = { inside: 0, refused: 0 };
      let next = 0;
      const victim = async (): Promise<void> => {
        while (next < racingStarts) {
          const round = next++;
          // A directory, a file, and places that must be made on the way.
          const place = ["/v/real/deep", "/v/real/hosts", `/v/real/new${round % 7}/x`][round % 3] ?? "";
          const source = round % 3 === 0 ? stage.shared : join(stage.shared, "payload");
          const assignment = stage.shell("grep -c canary /proc/mounts /v/real/* 2>/dev/null | grep -v ':0'; echo ran", {
            mounts: [
              { hostPath: volume, path: "/v", readOnly: false },
              { hostPath: source, path: place },
            ],
          });
          const { output, reason } = await stage.rig.run(assignment).catch((error: { reason: string }) => ({
            output: "",
            reason: error.reason,
          }));
          if (output === "ran\n") outcomes.inside += 1;
          else if (output === "" && reason === "MountFailed") outcomes.refused += 1;
          else throw new Error(`round ${round}: ${reason}: ${output}`);
        }
      };
      await Promise.all([victim(), victim()]);
      expect(outcomes.inside + outcomes.refused).toBe(racingStarts);
      // Both names were met, or there was no race.
      expect(outcomes.inside).toBeGreaterThan(0);
      expect(outcomes.refused).toBeGreaterThan(0);
      expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(canary.path);
      await racer.stop(0);
      canary.refuseChanges();
      expect(readdirSync(canary.path).sort()).toEqual(["directory", "hostname", "hosts", "null", "ptmx"]);
    },
    Math.max(240_000, racingStarts * 1_000),
  );

  test("a bind's source that turns into a link out of the allowed directory is never mounted", async () => {
    const volume = join(stage.shared, "source");
    mkdirSync(join(volume, "real"), { recursive: true });
    writeFileSync(join(volume, "real/hosts"), "inside\n");
    symlinkSync(canary.path, join(volume, "fake"));
    const racer = await stage.ready(
      stage.assignment(["/attack/exchange", "/v/real", "/v/fake"], {
        mounts: [{ hostPath: volume, path: "/v", readOnly: false }],
      }),
    );
    const seen = new Set<string>();
    for (let round = 0; round < 60; ++round) {
      const assignment = stage.shell("cat /x/hosts", { mounts: [{ hostPath: join(volume, "real"), path: "/x" }] });
      seen.add(
        await stage.rig.run(assignment).then(
          ({ output }) => output,
          ({ reason }: { reason: string }) => reason,
        ),
      );
    }
    await racer.stop(0);
    seen.delete("inside\n");
    seen.delete("MountNotAllowed");
    expect([...seen].filter((answer) => answer !== "MountFailed")).toEqual([]);
  });
});

describe("CVE-2025-31133, CVE-2025-52881: a sibling leads mounts over what is masked and written", () => {
  const targets = ["/proc", "/proc/self/attr", "/sys", "/dev"];

  test(`${detours.starts * detours.mounts} mounts whose place turns into a link there`, async () => {
    const volume = join(stage.shared, "detour");
    mkdirSync(volume);
    targets.forEach((target, index) => {
      mkdirSync(join(volume, `real${index}/attr`), { recursive: true });
      symlinkSync(target, join(volume, `fake${index}`));
    });
    const swap = (index: number): string => `/attack/exchange /v/real${index} /v/fake${index} 400`;
    const racer = await stage.ready(
      stage.shell(
        `${targets
          .slice(1)
          .map((_, index) => `${swap(index + 1)} >/dev/null &`)
          .join(" ")} exec ${swap(0)}`,
        {
          mounts: [{ hostPath: volume, path: "/v", readOnly: false }],
        },
      ),
    );
    // What lies on the kernel's own file systems, whether masks are masks, and where the runtime's sysctl went.
    const look = [
      "exec 2>&1",
      "awk '$5 ~ /^.(proc|sys|dev)/ { print $5, $(NF-2) }' /proc/self/mountinfo | sort",
      "stat -L -c '%t:%T' /proc/keys /proc/timer_list /dev/null",
      "cat /proc/sys/net/ipv4/ip_unprivileged_port_start",
      "(: > /proc/sys/kernel/core_pattern) 2>&1",
    ].join("; ");
    const normal = await stage.output(look);
    expect(normal).toMatch(/^\/proc proc$/m);
    expect(normal).toMatch(/1:3\n1:3\n1:3\n0\n.*Read-only file system/);
    const outcomes = { inside: 0, refused: 0 };
    const strange: { reason: string; output: string }[] = [];
    let next = 0;
    const victim = async (): Promise<void> => {
      while (next++ < detours.starts) {
        const mounts = Array.from({ length: detours.mounts }, (_, index) => ({
          hostPath: join(stage.shared, "payload"),
          path: `/v/real${index % targets.length}/${["attr", "sys", "new"][index % 3]}${index}`,
        }));
        const assignment = stage.shell(look, {
          mounts: [{ hostPath: volume, path: "/v", readOnly: false }, ...mounts],
        });
        const { output, reason } = await stage.rig.run(assignment).catch((error: { reason: string }) => ({
          output: "",
          reason: error.reason,
        }));
        if (output === normal) outcomes.inside += 1;
        else if (output === "" && reason === "MountFailed") outcomes.refused += 1;
        else strange.push({ reason, output });
      }
    };
    writeFileSync(join(stage.shared, "payload"), "payload\n");
    await Promise.all([victim(), victim()]);
    await racer.stop(0);
    expect(strange).toEqual([]);
    expect(outcomes.inside + outcomes.refused).toBe(detours.starts);
    expect(outcomes.inside).toBeGreaterThan(0);
    expect(outcomes.refused).toBeGreaterThan(0);
  }, 120_000);
});

describe("what lies below a container's root", () => {
  test("is nothing of the host's, also for root with CAP_SYS_ADMIN who takes everything away", async () => {
    const capabilities = ["CAP_SYS_ADMIN", "CAP_SYS_CHROOT", "CAP_SETFCAP"];
    const { output } = await stage.rig.run(stage.assignment(["/attack/beneath"], { container: { capabilities } }));
    const lines = output.trim().split("\n");
    expect([...lines.slice(0, 5), ...lines.slice(5).sort()]).toEqual([
      "unshare 0",
      // What is masked in /proc and /sys is masked for every user namespace inside.
      `nested-proc ${constants.errno.EPERM}`,
      `nested-sysfs ${constants.errno.EPERM}`,
      "umount-root 0",
      "setns 0",
      ...["empty", "proc", "sys"].map((name) => `sees /${name}`),
    ]);
  });
});
