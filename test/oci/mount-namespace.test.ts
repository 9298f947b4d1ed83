// linux.namespaces[].path of a mount namespace: the container is a member, and has a root of its own all the same.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, readlinkSync } from "node:fs";
import { expect, test } from "vitest";
import { type Config, execute, Place } from "./runtime.ts";

/** A process in a mount namespace of its own. */
class Member implements AsyncDisposable {
  readonly #process = spawn("unshare", ["--mount", "sh", "-c", "echo there && exec sleep 1000"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  readonly path = `/proc/${this.#process.pid}/ns/mnt`;

  static async start(): Promise<Member> {
    const member = new Member();
    await once(member.#process.stdout, "data");
    return member;
  }
  get space(): string {
    return readlinkSync(this.path);
  }
  get mounts(): string {
    return readFileSync(`/proc/${this.#process.pid}/mountinfo`, "utf8");
  }
  /** The root that whoever enters the namespace finds. */
  async root(): Promise<string> {
    const entering = ["--mount", "--target", String(this.#process.pid), "stat", "--format", "%d:%i", "/"];
    const { status, stdout } = await execute("nsenter", entering);
    return status === 0 ? stdout : "nobody can enter";
  }
  async [Symbol.asyncDispose](): Promise<void> {
    const ended = once(this.#process, "exit");
    this.#process.kill("SIGKILL");
    await ended;
  }
}

const joining =
  (path: string, change: (config: Config) => void = () => {}) =>
  (config: Config): void => {
    config.linux.namespaces = config.linux.namespaces.filter(({ type }) => type !== "mount");
    config.linux.namespaces.push({ type: "mount", path });
    change(config);
  };
const everything = ["CAP_SYS_ADMIN", "CAP_SYS_CHROOT"];
const guarded = (config: Config): void => {
  config.root.readonly = true;
  config.linux["maskedPaths"] = ["/proc/version"];
  config.process["noNewPrivileges"] = false;
  config.process["capabilities"] = { bounding: everything, permitted: everything, effective: everything };
};
const look = `
readlink /proc/self/ns/mnt
ls /
cat /proc/version
echo x >/dev/null && echo null
touch /etc/made 2>/dev/null || echo read-only
busybox mount -t tmpfs none /tmp 2>/dev/null || echo no mount
busybox umount /proc/version 2>/dev/null || echo no unmount
`;
const seen = (space: string): string => `${space}\nbin\ndev\netc\nproc\ntmp\nnull\nread-only\nno mount\nno unmount\n`;

test("a container sees its own root alone, and the other members see nothing of it", async () => {
  await using place = new Place();
  await using member = await Member.start();
  const before = { mounts: member.mounts, root: await member.root() };
  const { status, stdout, stderr } = await place.run([
    "run",
    "--bundle",
    place.bundle(["sh", "-c", look], joining(member.path, guarded)),
    "one",
  ]);
  expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: seen(member.space), stderr: "" });
  await place.create("two", place.bundle(["sleep", "1000"], joining(member.path, guarded)));
  await place.must(["start", "two"]);
  expect(await place.must(["exec", "two", "sh", "-c", look])).toBe(seen(member.space));
  expect({ mounts: member.mounts, root: await member.root() }).toEqual(before);
});

test("a member with CAP_SYS_ADMIN reaches the namespace's root, and what else joins it finds no container", async () => {
  await using place = new Place();
  await using member = await Member.start();
  const script = 'busybox nsenter --mount=/proc/self/ns/mnt /usr/bin/stat --format "%d:%i" /';
  const bundle = place.bundle(["sh", "-c", script], joining(member.path, guarded));
  expect(await place.must(["run", "--bundle", bundle, "one"])).toBe(await member.root());
});

test.for<[string, (path: string) => (config: Config) => void, RegExp]>([
  ["no mount namespace", () => joining("/proc/self/ns/net"), /open mount namespace: ioctl NS_GET_NSTYPE/],
  ["nothing", () => joining("/proc/self/ns/none"), /open mount namespace: .*No such file/],
  [
    "one that a new user namespace may not enter",
    (path) =>
      joining(path, (config) => {
        config.linux.namespaces.push({ type: "user" });
        for (const kind of ["uidMappings", "gidMappings"]) {
          config.linux[kind] = [{ containerID: 0, hostID: 0x6000_0000, size: 65_536 }];
        }
      }),
    /mount namespace: .*(Permission denied|Operation not permitted)/,
  ],
  [
    "one for a root that is shared",
    (path) => joining(path, (config) => (config.linux["rootfsPropagation"] = "shared")),
    /rootfsPropagation needs a mount namespace of its own/,
  ],
])("a path to %s is refused, and nothing is left", async ([, change, reason]) => {
  await using place = new Place();
  await using member = await Member.start();
  const bundle = place.bundle(["true"], change(member.path));
  const { status, stderr } = await place.run(["run", "--bundle", bundle, "one"]);
  expect({ status, stderr }).toEqual({ status: 1, stderr: expect.stringMatching(reason) });
  expect(place.cgroups()).toEqual([]);
});
