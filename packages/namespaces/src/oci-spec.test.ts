import type { ImageConfig, WorkloadSpec } from "@bulkhead/contracts";
import { MountAllowList } from "@bulkhead/host";
import { expect, test } from "vitest";
import { admitMounts, admitTmpfs } from "./admission.ts";
import { defaultCapabilities } from "./capabilities.ts";
import { defaultPath, processOf } from "@bulkhead/node";
import { refuseSamePlaces } from "./places.ts";
import { buildSpec } from "./oci-spec.ts";
import { ociResources } from "./resources.ts";

const image = (changes: Partial<ImageConfig> = {}): ImageConfig => ({
  architecture: "amd64",
  os: "linux",
  entrypoint: ["/entry"],
  cmd: ["serve"],
  env: ["LANG=C.UTF-8", "PATH=/opt/bin:/bin"],
  user: "",
  workingDir: "",
  stopSignal: null,
  exposedPorts: [],
  labels: {},
  ...changes,
});

const workload = (changes: Partial<WorkloadSpec> = {}): WorkloadSpec => ({
  image: "x",
  resources: { cpuMillis: 250, memoryBytes: 64 * 2 ** 20 },
  ...changes,
});

const enforcement = { disk: { major: 254, minor: 0 }, ioWeight: true, swap: true };

const built = (spec: WorkloadSpec, allowed = "") =>
  buildSpec({
    hostname: "web-0",
    process: processOf(spec, image(), "web-0"),
    resources: ociResources(spec.resources, [], enforcement),
    uidRange: { firstId: 0x1000_0000, ids: 65_536 },
    mounts: admitMounts(spec, MountAllowList.parse(allowed)),
    tmpfs: admitTmpfs(spec),
    shares: [],
    files: [{ source: "/run/x/hosts", destination: "/etc/hosts" }],
    options: spec.container,
    openFilesMax: 20_000,
  });

test("the whole specification of a plain container, the system calls apart", () => {
  const { spec, binds } = built(workload());
  const { seccomp: _seccomp, ...linux } = spec.linux ?? {};
  expect({ ...spec, linux, binds }).toMatchSnapshot();
});

test("a tmpfs has its size, runs no programs unless it says so, and may stand in for /dev/shm", () => {
  const { spec } = built(
    workload({
      tmpfs: [
        { path: "/tmp/", sizeBytes: 4096 },
        { path: "/dev/shm", sizeBytes: 8192, mode: "0700", executable: true },
      ],
    }),
  );
  expect(
    spec.mounts?.filter(({ type }) => type === "tmpfs").map(({ destination, options }) => [destination, options]),
  ).toEqual([
    ["/dev", expect.anything()],
    ["/tmp", ["nosuid", "nodev", "noexec", "mode=1777", "size=4096"]],
    ["/dev/shm", ["nosuid", "nodev", "mode=0700", "size=8192"]],
  ]);
});

test("what a container may do beside system calls is Docker's, with nothing inheritable", () => {
  const { capabilities, noNewPrivileges } = built(workload()).spec.process;
  expect(capabilities?.bounding).toEqual(defaultCapabilities);
  expect(capabilities?.inheritable).toEqual([]);
  expect(capabilities?.ambient).toEqual([]);
  expect(noNewPrivileges).toBe(true);
});

test("capabilities of the spec replace the default ones and add only their own system calls", () => {
  const names = (capabilities?: string[]) =>
    new Set(
      built(workload(capabilities === undefined ? {} : { container: { capabilities } }))
        .spec.linux?.seccomp?.syscalls?.filter(({ action }) => action === "SCMP_ACT_ALLOW")
        .filter(({ args }) => args === undefined)
        .flatMap((rule) => rule.names),
    );
  expect(built(workload({ container: { capabilities: [] } })).spec.process.capabilities?.bounding).toEqual([]);
  expect(names().has("mount")).toBe(false);
  expect(names(["CAP_SYS_ADMIN"]).has("mount")).toBe(true);
  expect(names(["CAP_SYS_TIME"])).toEqual(
    new Set([...names([]), "clock_settime", "clock_settime64", "settimeofday", "stime"]),
  );
});

test("binds are read-only unless asked otherwise, and confined to the allowed directory", () => {
  const { spec, binds } = built(
    workload({
      mounts: [
        { hostPath: "/srv/a", path: "/a" },
        { hostPath: "/srv/b/c", path: "/b", readOnly: false },
      ],
    }),
    "/srv:/srv/b",
  );
  const mounts = spec.mounts ?? [];
  const first = mounts.length - 2;
  expect(mounts[first]).toMatchObject({ source: "/srv/a", destination: "/a" });
  expect(mounts[first]?.options).toContain("rro");
  expect(mounts[first + 1]?.options).toContain("rw");
  for (const mount of mounts.slice(first)) {
    expect(mount.options).toEqual(expect.arrayContaining(["nosuid", "nodev", "rprivate"]));
  }
  expect(binds).toEqual({
    [first]: { beneath: "/srv", idmap: true },
    [first + 1]: { beneath: "/srv/b", idmap: true },
  });
});

test.each([
  ["/etc", "/x", "/srv", /its list has \/srv/],
  ["/etc", "/x", "", /its list is empty/],
  ["/srv/../etc", "/x", "/srv", /not below/],
  ["/srv/a", "/proc/sys", "/srv", /own \/proc/],
  ["/srv/a", "/sys", "/srv", /own \/sys/],
  ["/srv/a", "/dev/shm", "/srv", /own \/dev/],
  ["/srv/a", "/a/../proc", "/srv", /no place/],
  ["/srv/a", "/", "/srv", /no place/],
])("a mount of %s on %s with the list %j is not allowed", (hostPath, path, allowed, message) => {
  const refused = () => admitMounts(workload({ mounts: [{ hostPath, path }] }), MountAllowList.parse(allowed));
  expect(refused).toThrow(message);
  expect(refused).toThrow(expect.objectContaining({ reason: "MountNotAllowed" }));
});

test("two mounts on one place and an unknown capability are refused", () => {
  const mounts = [
    { hostPath: "/srv/a", path: "/a" },
    { hostPath: "/srv/b", path: "/a/" },
  ];
  const places = admitMounts(workload({ mounts }), MountAllowList.parse("/srv")).map(({ path }) => path);
  expect(() => refuseSamePlaces(places)).toThrow(/same place/);
  expect(() => admitMounts(workload({ container: { capabilities: ["CAP_NONE"] } }), MountAllowList.parse(""))).toThrow(
    /no capability/,
  );
});

test("command replaces entrypoint and command, args only the command", () => {
  const args = (spec: Partial<WorkloadSpec>, changes: Partial<ImageConfig> = {}) =>
    processOf(workload(spec), image(changes), "h").args;
  expect(args({})).toEqual(["/entry", "serve"]);
  expect(args({ args: ["test"] })).toEqual(["/entry", "test"]);
  expect(args({ args: [] })).toEqual(["/entry"]);
  expect(args({ command: ["sh"] })).toEqual(["sh"]);
  expect(args({ command: ["sh"], args: ["-c", "x"] })).toEqual(["sh", "-c", "x"]);
  expect(() => args({}, { entrypoint: [], cmd: [] })).toThrow(
    expect.objectContaining({ reason: "EntrypointNotFound" }),
  );
});

test("variables of the spec outrank the image's, which outrank the defaults", () => {
  const env = (changes: Partial<ImageConfig>, own: Record<string, string> = {}) =>
    processOf(workload({ env: own }), image(changes), "web-0").env;
  expect(env({ env: [] })).toEqual([`PATH=${defaultPath}`, "HOSTNAME=web-0"]);
  expect(env({ env: ["PATH=/a", "A=1=2"] }, { A: "3" })).toEqual(["PATH=/a", "HOSTNAME=web-0", "A=3"]);
});

test("working directory, user and stop signal come from the spec, then the image, then the default", () => {
  expect(processOf(workload(), image(), "h")).toMatchObject({ cwd: "/", user: "", stopSignal: 15 });
  expect(
    processOf(workload(), image({ workingDir: "srv", user: "redis", stopSignal: "SIGRTMIN+3" }), "h"),
  ).toMatchObject({ cwd: "/srv", user: "redis", stopSignal: 37 });
  expect(processOf(workload({ workingDir: "/w", user: "7" }), image({ user: "redis" }), "h")).toMatchObject({
    cwd: "/w",
    user: "7",
  });
  expect(() => processOf(workload(), image({ stopSignal: "SIGNOPE" }), "h")).toThrow(
    expect.objectContaining({ reason: "ImageInvalid" }),
  );
});
