// What a specification says of the process and of volumes, read back from the kernel through the command line.
import { chownSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { type Config, Place } from "./runtime.ts";

const run = async (place: Place, args: string[], change: (config: Config) => void): Promise<string> =>
  (
    await place.must(["run", "--bundle", place.bundle(args, change), `one-${Math.random().toString(36).slice(2)}`])
  ).trim();

const status = (text: string, name: string): string => new RegExp(`^${name}:\\s*(.*)$`, "m").exec(text)?.[1] ?? "";

test("an exec begins on the CPUs of execCPUAffinity.initial and ends up on those of final", async () => {
  await using place = new Place();
  const last = availableParallelism() - 1;
  const affinity = { initial: "0", final: String(last) };
  await place.create(
    "one",
    place.bundle(["sleep", "1000"], (config) => (config.process["execCPUAffinity"] = affinity)),
  );
  await place.must(["start", "one"]);
  const own = readFileSync(`/proc/${(await place.state("one")).pid}/status`, "utf8");
  const all = last === 0 ? "0" : `0-${last}`;
  expect(status(own, "Cpus_allowed_list")).toBe(all);
  expect(status(await place.must(["exec", "one", "cat", "/proc/self/status"]), "Cpus_allowed_list")).toBe(String(last));
  // A process from a file says for itself.
  const file = join(place.path, "process.json");
  const process = { args: ["cat", "/proc/self/status"], cwd: "/", env: ["PATH=/bin"], user: { uid: 0, gid: 0 } };
  writeFileSync(file, JSON.stringify({ ...process, execCPUAffinity: { final: "0" } }));
  expect(status(await place.must(["exec", "--process", file, "one"]), "Cpus_allowed_list")).toBe("0");
  writeFileSync(file, JSON.stringify(process));
  expect(status(await place.must(["exec", "--process", file, "one"]), "Cpus_allowed_list")).toBe(all);
  writeFileSync(file, JSON.stringify({ ...process, execCPUAffinity: { final: "0-" } }));
  expect(await place.run(["exec", "--process", file, "one"])).toMatchObject({
    status: 255,
    stderr: expect.stringContaining("/execCPUAffinity/final is no CPU list"),
  });
});

test("host and domain name are the container's own", async () => {
  await using place = new Place();
  const before = readFileSync("/proc/sys/kernel/domainname", "utf8");
  const said = await run(place, ["cat", "/proc/sys/kernel/hostname", "/proc/sys/kernel/domainname"], (config) => {
    config["hostname"] = "inside";
    config["domainname"] = "example.org";
  });
  expect(said).toBe("inside\nexample.org");
  expect(readFileSync("/proc/sys/kernel/domainname", "utf8")).toBe(before);
});

test("clocks, I/O priority, scheduler, personality and umask are what the specification says", async () => {
  await using place = new Place();
  const boot = Number(readFileSync("/proc/uptime", "utf8").split(" ")[0]);
  const clock = await run(place, ["cat", "/proc/uptime"], (config) => {
    config.linux.namespaces.push({ type: "time" });
    config.linux["timeOffsets"] = { boottime: { secs: 100_000, nanosecs: 500_000_000 } };
  });
  expect(Number(clock.split(" ")[0])).toBeGreaterThan(boot + 100_000);
  const values = await run(
    place,
    ["sh", "-c", "busybox ionice -p $$; cut -d' ' -f19 /proc/self/stat; busybox uname -m; umask"],
    (config) => {
      config.process["ioPriority"] = { class: "IOPRIO_CLASS_BE", priority: 6 };
      config.process["scheduler"] = { policy: "SCHED_BATCH", nice: 7 };
      config.process.user = { uid: 0, gid: 0, umask: 0o027 };
      config.linux["personality"] = { domain: "LINUX32" };
    },
  );
  expect(values.split("\n")).toEqual(["best-effort: prio 6", "7", "i686", "0027"]);
});

test("memory is bound to the nodes that memoryPolicy names", async () => {
  await using place = new Place();
  const maps = await run(place, ["busybox", "cat", "/proc/self/numa_maps"], (config) => {
    config.linux["memoryPolicy"] = { mode: "MPOL_BIND", nodes: "0", flags: ["MPOL_F_STATIC_NODES"] };
  });
  expect(maps.split("\n").every((line) => line.split(" ")[1] === "bind=static:0")).toBe(true);
});

test("a volume is seen with the ids of its own lists of mappings, in both directions", async () => {
  await using place = new Place();
  const volume = join(place.path, "volume");
  mkdirSync(volume);
  chownSync(volume, 1000, 2000);
  for (const [name, uid, gid] of [
    ["first", 1000, 2000],
    ["second", 1001, 2001],
    ["third", 5000, 5000],
  ] as const) {
    writeFileSync(join(volume, name), name);
    chownSync(join(volume, name), uid, gid);
  }
  const mount = (options: string[]) => ({
    destination: "/volume",
    type: "bind",
    source: volume,
    options: ["bind", ...options],
    // Not in the order of either side, and not one range.
    uidMappings: [
      { containerID: 1001, hostID: 7, size: 1 },
      { containerID: 1000, hostID: 0, size: 1 },
      { containerID: 5000, hostID: 60_000, size: 10 },
    ],
    gidMappings: [
      { containerID: 2000, hostID: 0, size: 2 },
      { containerID: 5000, hostID: 60_000, size: 10 },
    ],
  });
  const seen = await run(
    place,
    ["sh", "-c", "cd /volume; stat -c %n:%u:%g first second third; touch made; echo $?"],
    (config) => config.mounts.push(mount(["idmap"])),
  );
  expect(seen.split("\n")).toEqual(["first:0:0", "second:7:1", "third:60000:60000", "0"]);
  const { uid, gid } = statSync(join(volume, "made"));
  expect([uid, gid]).toEqual([1000, 2000]);
});

test.each([true, false])(
  "a /dev that is to be read-only is complete, and nothing can be made in it (terminal: %s)",
  async (terminal) => {
    await using place = new Place();
    const show =
      "touch /dev/new 2>&1; ls -1 /dev; echo x > /dev/null && echo discarded; touch /dev/shm/new && echo shared; grep -o ' /dev .* ro,' /proc/mounts";
    const bundle = place.bundle(["sh", "-c", show], (config) => {
      config.process.terminal = terminal;
      config.mounts.find(({ destination }) => destination === "/dev")?.options.push("ro");
      config.mounts.push({ destination: "/dev/shm", type: "tmpfs", source: "shm", options: [] });
    });
    const { status, stdout } = await place.run(["run", "--bundle", bundle, "one"]);
    const nodes = ["fd", "full", "null", "ptmx", "pts", "random", "shm"];
    const more = ["stderr", "stdin", "stdout", "tty", "urandom", "zero"];
    expect({ status, lines: stdout.replaceAll("\r", "").trimEnd().split("\n") }).toEqual({
      status: 0,
      lines: [
        "touch: /dev/new: Read-only file system",
        ...(terminal ? ["console", ...nodes, ...more] : [...nodes, ...more]),
        "discarded",
        "shared",
        " /dev tmpfs ro,",
      ],
    });
  },
);
