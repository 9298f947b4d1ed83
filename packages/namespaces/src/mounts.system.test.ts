import { mkdir, readdir, readFile, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { Digest } from "@bulkhead/contracts";
import { busyboxImage, symlinkedDirectoryImage } from "@bulkhead/testkit/images";
import { Rig } from "./testing/rig.ts";

let rig: Rig;
let busybox: Digest;
let shared: string;

beforeAll(async () => {
  rig = await Rig.open({ allowed: "$ROOT/shared" });
  busybox = await rig.image(await busyboxImage());
  shared = join(rig.root, "shared");
  await mkdir(join(shared, "data"), { recursive: true });
  await mkdir(join(rig.root, "secret"));
  await writeFile(join(rig.root, "secret", "key"), "secret\n", { mode: 0o644 });
  await writeFile(join(shared, "data", "input"), "from the host\n", { mode: 0o600 });
  await symlink(join(rig.root, "secret"), join(shared, "absolute"));
  await symlink("../secret", join(shared, "relative"));
  await symlink("data", join(shared, "inside"));
});
afterEach(() => rig.clear());
afterAll(() => rig[Symbol.asyncDispose]());

const shell = (script: string, changes: Parameters<Rig["assignment"]>[1] = {}) =>
  rig.assignment(busybox, { command: ["sh", "-c", script], ...changes });
const reasonOf = (assignment: ReturnType<typeof shell>): Promise<string> =>
  rig.start(assignment).then(
    () => "started",
    ({ reason }: { reason: string }) => reason,
  );

test("a host directory is seen with the host's owners, read-only by default", async () => {
  const { output } = await rig.run(
    shell("cat /in/input; stat -c %u /in/input; echo x 2>&1 > /in/new", {
      mounts: [{ hostPath: join(shared, "data"), path: "/in" }],
    }),
  );
  expect(output).toContain("from the host\n0\n");
  expect(output).toContain("Read-only file system");
});

test("a writable one takes files, owned on the host as inside", async () => {
  await rig.run(
    shell("echo answer > /io/out; chown 7:8 /io/out", {
      mounts: [{ hostPath: join(shared, "data"), path: "/io", readOnly: false }],
    }),
  );
  expect(await readFile(join(shared, "data", "out"), "utf8")).toBe("answer\n");
  expect(await stat(join(shared, "data", "out"))).toMatchObject({ uid: 7, gid: 8 });
});

test("a single file can be shown, also in place of one of the image", async () => {
  const { output } = await rig.run(
    shell("cat /etc/passwd", { mounts: [{ hostPath: join(shared, "data", "input"), path: "/etc/passwd" }] }),
  );
  expect(output).toBe("from the host\n");
});

test("a pipe in a shared directory joins host and container", async () => {
  const run = await rig.start(
    shell("mkfifo /io/pipe; read line < /io/pipe; echo got $line", {
      mounts: [{ hostPath: join(shared, "data"), path: "/io", readOnly: false }],
    }),
  );
  const pipe = join(shared, "data", "pipe");
  await expect
    .poll(
      () =>
        stat(pipe)
          .then(() => true)
          .catch(() => false),
      { timeout: 30_000 },
    )
    .toBe(true);
  await writeFile(pipe, "hello\n");
  await run.ended;
  expect(await rig.output(run)).toBe("got hello\n");
});

test.each([
  ["outside the list", () => join(rig.root, "secret"), "MountNotAllowed"],
  ["an absolute link out", () => join(shared, "absolute"), "MountNotAllowed"],
  ["a relative link out", () => join(shared, "relative"), "MountNotAllowed"],
  ["a path through a link out", () => join(shared, "relative", "key"), "MountNotAllowed"],
  ["dots", () => `${shared}/../secret`, "MountNotAllowed"],
  ["nothing there", () => join(shared, "missing"), "MountFailed"],
])("%s is refused", async (_, hostPath, reason) => {
  const assignment = shell("cat /x/key", { mounts: [{ hostPath: hostPath(), path: "/x" }] });
  expect(await reasonOf(assignment)).toBe(reason);
  await rig.runtime.settled();
  expect(await readdir(rig.paths.instances)).toEqual([]);
  expect(await readdir(rig.paths.runInstances)).toEqual([]);
});

test("a link that stays inside the allowed directory may be followed", async () => {
  const { output } = await rig.run(
    shell("cat /x/input", { mounts: [{ hostPath: join(shared, "inside"), path: "/x" }] }),
  );
  expect(output).toBe("from the host\n");
});

test.each(["/proc", "/sys", "/dev", "/etc"] as const)(
  "an image whose %s is a link to the host gets nothing of it",
  async (directory) => {
    const decoy = join(rig.root, `decoy-${directory.slice(1)}`);
    await mkdir(decoy);
    await writeFile(join(decoy, "hostname"), "untouched\n");
    const image = await rig.image(await symlinkedDirectoryImage(directory, decoy));
    const run = await rig.start(rig.assignment(image, { command: ["/bin/true"] })).catch(() => null);
    await run?.ended;
    expect(await readFile(join(decoy, "hostname"), "utf8")).toBe("untouched\n");
    expect(await readdir(decoy)).toEqual(["hostname"]);
  },
);
