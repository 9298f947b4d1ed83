// The annotation org.bulkhead.writable: Landlock as a layer below everything else that a container is held by.
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { type Config, execute, type Finished, Place, runtimePath } from "./runtime.ts";

const annotation = "org.bulkhead.writable";
const everything = ["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_SYS_CHROOT", "CAP_MKNOD", "CAP_CHOWN"];

/** Root with what it takes to mount over anything, so that only Landlock is in the way. */
const powerful = (config: Config): void => {
  config.process["noNewPrivileges"] = false;
  config.process["capabilities"] = { bounding: everything, permitted: everything, effective: everything };
};
const confined =
  (paths: string, change: (config: Config) => void = () => {}) =>
  (config: Config): void => {
    config.annotations = { [annotation]: paths };
    change(config);
  };

const tries = `
attempt() { name=$1; shift; "$@" 2>/dev/null && echo "$name yes" || echo "$name no"; }
attempt create-allowed touch /tmp/made
attempt rename-allowed busybox mv /tmp/made /tmp/sub/made
attempt truncate-allowed sh -c ': >/tmp/sub/made'
attempt null sh -c 'echo x >/dev/null'
attempt shm touch /dev/made
attempt proc sh -c 'echo 100 >/proc/self/oom_score_adj'
attempt read sh -c 'busybox cat /etc/passwd >/dev/null'
attempt create touch /etc/made
attempt write sh -c 'echo x >>/etc/passwd'
attempt remove busybox rm /etc/group
attempt link busybox ln -s /etc/passwd /etc/link
attempt rename-out busybox mv /tmp/sub/made /etc/made
attempt mount busybox mount -t tmpfs none /etc
attempt bind busybox mount -o bind /tmp /etc
attempt umount busybox umount /proc
`;
const expected = (more: string): string =>
  `create-allowed yes
rename-allowed yes
truncate-allowed yes
null yes
shm yes
proc yes
read yes
create no
write no
remove no
link no
rename-out no
mount no
bind no
umount no
${more}`;

test.for([
  ["without privileges", () => {}],
  ["with CAP_SYS_ADMIN", powerful],
] as const)("a process %s writes where it may and nowhere else, and mounts nothing", async ([, change], { expect }) => {
  await using place = new Place();
  mkdirSync(join(place.rootfs, "tmp/sub"));
  const passwd = readFileSync(join(place.rootfs, "etc/passwd"), "utf8");
  const bundle = place.bundle(["sh", "-c", tries], confined("/tmp", change));
  expect(await place.must(["run", "--bundle", bundle, "one"])).toBe(expected(""));
  expect(readFileSync(join(place.rootfs, "etc/passwd"), "utf8")).toBe(passwd);
  expect(existsSync(join(place.rootfs, "tmp/sub/made"))).toBe(true);
});

test("a process that joins is held by it too, and a container without it is not", async () => {
  await using place = new Place();
  await place.create("one", place.bundle(["sleep", "1000"], confined("/tmp")));
  await place.must(["start", "one"]);
  expect((await place.run(["exec", "one", "touch", "/tmp/made"])).status).toBe(0);
  expect((await place.run(["exec", "one", "touch", "/etc/made"])).status).toBe(1);
  await place.must(["run", "--bundle", place.bundle(["touch", "/etc/made"]), "two"]);
  expect(existsSync(join(place.rootfs, "etc/made"))).toBe(true);
});

test("no path at all is a container that writes nowhere; a path that is missing or relative is refused", async () => {
  await using place = new Place();
  const nowhere = place.bundle(["touch", "/tmp/made"], confined(""));
  expect((await place.run(["run", "--bundle", nowhere, "one"])).status).toBe(1);
  expect(existsSync(join(place.rootfs, "tmp/made"))).toBe(false);
  for (const [paths, reason] of [
    ["/nowhere", /writable paths: openat2 \/nowhere: No such file/],
    ["tmp", /writable\/0 must be an absolute path/],
  ] as const) {
    const { status, stderr } = await place.run(["run", "--bundle", place.bundle(["true"], confined(paths)), "two"]);
    expect({ paths, status, stderr }).toEqual({ paths, status: 1, stderr: expect.stringMatching(reason) });
    expect(place.cgroups()).toEqual([]);
  }
});

test.each([
  ["no Landlock", "error=ENOSYS", /Function not implemented/],
  ["Landlock switched off", "error=EOPNOTSUPP", /Operation not supported/],
  ["one that cannot rename", "retval=1", /Operation not supported/],
])("a kernel with %s refuses what asks for it", async (_, injected, reason) => {
  await using place = new Place();
  const runtime = (bundle: string): Promise<Finished> => {
    const tracer = [
      "--follow-forks",
      "--quiet=all",
      "--output=/dev/null",
      `--inject=landlock_create_ruleset:${injected}`,
    ];
    return execute("strace", [...tracer, runtimePath, "--root", place.root, "run", "--bundle", bundle, "one"]);
  };
  const { status, stderr } = await runtime(place.bundle(["true"], confined("/tmp")));
  expect({ status, stderr }).toEqual({ status: 1, stderr: expect.stringMatching(reason) });
  expect(place.cgroups()).toEqual([]);
  expect(await runtime(place.bundle(["true"]))).toMatchObject({ status: 0, stderr: "" });
});
