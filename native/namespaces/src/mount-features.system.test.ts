// Mount options and device rules beyond the default, tried against the kernel.
import { execFileSync } from "node:child_process";
import { chownSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Area } from "../test/fixture.ts";
import type { OciMount, PlanInput } from "./index.ts";

const adding =
  (...mounts: OciMount[]) =>
  (input: PlanInput): void => {
    input.spec.mounts = [...input.spec.mounts!, ...mounts];
  };

test("recursive attributes reach submounts, plain ones do not", async () => {
  await using area = new Area();
  const source = join(area.path, "tree");
  mkdirSync(join(source, "below"), { recursive: true });
  execFileSync("mount", ["-t", "tmpfs", "bulkhead-test", join(source, "below")]);
  try {
    const script = `grep -E ' /(plain|deep)' /proc/self/mountinfo | cut -d' ' -f5,6`;
    const { stdout } = await area.run(
      ["sh", "-c", script],
      adding(
        { destination: "/plain", type: "bind", source, options: ["rbind", "ro"] },
        { destination: "/deep", type: "bind", source, options: ["rbind", "rro", "rnoexec", "noatime"] },
      ),
    );
    const options = Object.fromEntries(
      stdout
        .trim()
        .split("\n")
        .map((line) => line.split(" ")),
    );
    expect(options["/plain"]).toMatch(/^ro\b/);
    expect(options["/plain/below"]).toMatch(/^rw\b/);
    expect(options["/deep"]).toMatch(/^ro,noexec,noatime/);
    expect(options["/deep/below"]).toMatch(/^ro,noexec/);
    expect(options["/deep/below"]).not.toContain("noatime");
  } finally {
    execFileSync("umount", [join(source, "below")]);
  }
});

test("tmpcopyup begins with what the image has; a tmpfs without a mode takes its place's", async () => {
  await using area = new Area();
  const place = join(area.layer, "etc", "app");
  mkdirSync(join(place, "nested"), { recursive: true, mode: 0o750 });
  writeFileSync(join(place, "nested", "conf"), "content\n", { mode: 0o640 });
  chownSync(join(place, "nested", "conf"), 7, 8);
  execFileSync("chmod", ["2750", place]);
  const script =
    "stat -c %a /etc/app; cat /etc/app/nested/conf; stat -c %u:%g:%a /etc/app/nested/conf; touch /etc/app/x; echo $?";
  const { stdout } = await area.run(
    ["sh", "-c", script],
    adding({ destination: "/etc/app", type: "tmpfs", options: ["tmpcopyup", "size=1m", "ro"] }),
  );
  expect(stdout.trim().split("\n")).toEqual(["2750", "content", "7:8:640", "1"]);
});

test("an id-mapped mount with maps of its own", async () => {
  await using area = new Area();
  const source = join(area.path, "owned");
  mkdirSync(source);
  writeFileSync(join(source, "file"), "x");
  chownSync(join(source, "file"), 1000, 1000);
  const { stdout } = await area.run(
    ["stat", "-c", "%u:%g", "/mapped/file"],
    adding({
      destination: "/mapped",
      type: "bind",
      source,
      options: ["bind", "idmap"],
      uidMappings: [{ containerID: 1000, hostID: 0x10000000 + 5, size: 1 }],
      gidMappings: [{ containerID: 1000, hostID: 0x10000000 + 6, size: 1 }],
    }),
  );
  expect(stdout.trim()).toBe("5:6");
});

test("a remount changes what is there, and only what it names", async () => {
  await using area = new Area();
  const source = join(area.path, "data");
  mkdirSync(source);
  const { stdout } = await area.run(
    ["sh", "-c", "grep ' /data ' /proc/self/mountinfo | cut -d' ' -f6"],
    adding(
      { destination: "/data", type: "bind", source, options: ["bind", "nosuid"] },
      { destination: "/data", type: "bind", source, options: ["bind", "remount", "ro", "noexec"] },
    ),
  );
  expect(stdout.trim().split(",").slice(0, 3)).toEqual(["ro", "nosuid", "noexec"]);
});

test("only a procfs may be bound over /proc", async () => {
  await using area = new Area();
  const bind =
    (source: string) =>
    (input: PlanInput): void => {
      input.spec.mounts = input.spec.mounts!.map((mount) =>
        mount.destination === "/proc" ? { destination: "/proc", type: "bind", source, options: ["rbind"] } : mount,
      );
    };
  const refused = await area.start(["true"], bind("/tmp")).catch((error: unknown) => error);
  expect(refused).toMatchObject({ step: "mount /proc", op: "fstatfs", code: "EINVAL" });
  const inner = await area.start(["true"], bind("/proc/self")).catch((error: unknown) => error);
  expect(inner).toMatchObject({ step: "mount /proc" });
});

test("cgroup v2: device rules are a program that the kernel asks", async () => {
  await using area = new Area();
  const unified = area.cgroup.paths["unified"]!;
  const script = "for d in null tty full zero; do head -c 1 /dev/$d >/dev/null 2>&1; echo $d $?; done";
  const { stdout } = await area.run(["sh", "-c", script], (input) => {
    // The unified tree of a hybrid host has no controllers, but programs.
    input.cgroup = { paths: { unified } };
    input.spec.linux!.namespaces = input.spec.linux!.namespaces!.filter(({ type }) => type !== "cgroup");
    input.spec.linux!.resources = {
      devices: [{ allow: false }, { allow: false, type: "c", major: 1, minor: 5, access: "r" }],
    };
  });
  expect(stdout).toContain("null 0");
  expect(stdout).toContain("zero 0");
  expect(existsSync(unified)).toBe(true);
});
