// A busybox image, places for instances, and a look at what the host holds of them.
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  compilePlan,
  killAll,
  type PlanInput,
  readExit,
  removeCgroup,
  start,
  type StartOptions,
  type Started,
  watchExit,
  type ExitRecord,
} from "../src/index.ts";

const APPLETS = [
  "sh",
  "true",
  "false",
  "cat",
  "ls",
  "id",
  "sleep",
  "echo",
  "grep",
  "stat",
  "touch",
  "dd",
  "mount",
  "ps",
  "stty",
  "tty",
  "yes",
  "head",
  "seq",
  "kill",
  "hostname",
  "readlink",
  "pwd",
  "mkdir",
  "env",
  "test",
  "cut",
  "uname",
  "ionice",
];

const MAP = [{ containerID: 0, hostID: 0x10000000, size: 65536 }];
const CAPABILITIES = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_KILL", "CAP_SETUID", "CAP_SETGID"];

/** Directories, cgroups and processes of one test; everything is gone when it is disposed. */
export class Area implements AsyncDisposable {
  readonly path = mkdtempSync(join(tmpdir(), "bulkhead-native-"));
  readonly layer = join(this.path, "layer");
  readonly log = join(this.path, "log");
  readonly runDir = join(this.path, "run");
  readonly cgroup = { paths: cgroupPaths(`bulkhead-native-${process.pid}-${this.path.slice(-6)}`) };

  constructor() {
    mkdirSync(join(this.layer, "bin"), { recursive: true });
    mkdirSync(join(this.layer, "etc"));
    mkdirSync(this.runDir);
    copyFileSync("/bin/busybox", join(this.layer, "bin/busybox"));
    for (const name of APPLETS) symlinkSync("busybox", join(this.layer, "bin", name));
  }

  input(args: readonly string[], change: (input: PlanInput) => void = () => {}): PlanInput {
    const input: PlanInput = {
      spec: {
        process: {
          args,
          env: ["PATH=/bin"],
          cwd: "/",
          noNewPrivileges: true,
          capabilities: { bounding: CAPABILITIES, permitted: CAPABILITIES, effective: CAPABILITIES },
        },
        hostname: "box",
        mounts: [
          { destination: "/proc", type: "proc", options: ["nosuid", "noexec", "nodev"] },
          { destination: "/dev", type: "tmpfs", options: ["nosuid", "mode=755", "size=65536k"] },
          { destination: "/dev/pts", type: "devpts", options: ["nosuid", "noexec", "ptmxmode=0666", "mode=0620"] },
          { destination: "/dev/shm", type: "tmpfs", options: ["nosuid", "noexec", "nodev", "mode=1777", "size=8m"] },
          { destination: "/dev/mqueue", type: "mqueue", options: ["nosuid", "noexec", "nodev"] },
          { destination: "/sys", type: "sysfs", options: ["nosuid", "noexec", "nodev", "ro"] },
        ],
        linux: {
          namespaces: (["mount", "pid", "network", "ipc", "uts", "user", "cgroup"] as const).map((type) => ({ type })),
          uidMappings: MAP,
          gidMappings: MAP,
          resources: { memory: { limit: 64 << 20 }, cpu: { shares: 512 }, pids: { limit: 60 } },
          maskedPaths: ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/acpi", "/sys/firmware"],
          readonlyPaths: ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
      },
      rootfs: { kind: "overlay", layers: [this.layer], upper: join(this.path, "upper"), work: join(this.path, "work") },
      cgroup: this.cgroup,
      runDir: this.runDir,
      log: { path: this.log, maxBytes: 1 << 20, maxFiles: 3 },
      lease: null,
    };
    change(input);
    return input;
  }

  start(args: readonly string[], change?: (input: PlanInput) => void, options?: StartOptions): Promise<Started> {
    return start(compilePlan(this.input(args, change)), options);
  }

  /** Runs to the end; the record and what it printed on stdout. */
  async run(
    args: readonly string[],
    change?: (input: PlanInput) => void,
  ): Promise<{ exit: ExitRecord; stdout: string }> {
    const started = await this.start(args, change);
    return { exit: await this.ended(started), stdout: this.output("stdout") };
  }

  async ended(started: Started): Promise<ExitRecord> {
    await watchExit(started.shim).exited;
    const exit = readExit(this.runDir);
    if (exit === null) throw new Error("the shim left no exit record");
    return exit;
  }

  /** What one stream printed, from the log. */
  output(stream: "stdout" | "stderr"): string {
    let text = "";
    for (const line of readFileSync(this.log, "utf8").split("\n")) {
      const match = /^\S+Z (stdout|stderr) (F|P) (.*)$/s.exec(line);
      if (match !== null && match[1] === stream) text += match[3] + (match[2] === "F" ? "\n" : "");
    }
    return text;
  }

  /** cgroup directories of this area that exist. */
  cgroupsLeft(): string[] {
    return Object.values(this.cgroup.paths).filter((path) => existsSync(path));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.cgroupsLeft().length > 0) killAll(this.cgroup);
    await removeCgroup(this.cgroup);
    rmSync(this.path, { recursive: true, force: true });
  }
}

function cgroupPaths(name: string): Record<string, string> {
  const own = new Map(
    readFileSync("/proc/self/cgroup", "utf8")
      .split("\n")
      .flatMap((line) => {
        const [, controllers = "", path = "/"] = line.split(":");
        return controllers.split(",").map((controller) => [controller, path] as const);
      }),
  );
  if (!existsSync("/sys/fs/cgroup/unified")) {
    return { unified: join("/sys/fs/cgroup", own.get("") ?? "/", name) };
  }
  const paths: Record<string, string> = { unified: join("/sys/fs/cgroup/unified", name) };
  for (const controller of ["cpu", "cpuacct", "cpuset", "memory", "pids", "freezer"]) {
    paths[controller] = join(
      "/sys/fs/cgroup",
      controller,
      controller === "memory" ? (own.get("memory") ?? "/") : "/",
      name,
    );
  }
  return paths;
}

/** Mounts of this process's namespace, and its children: shims that run or were not reaped. The fork server stays. */
export function hostState(): { mounts: string[]; children: string[] } {
  const mounts = readFileSync("/proc/self/mountinfo", "utf8").split("\n");
  const children = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => parentOf(pid) === process.pid && nameOf(pid) !== "bulkhead-fork");
  return { mounts, children };
}

/** The fork servers of this process. */
export function forkServers(): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && parentOf(name) === process.pid && nameOf(name) === "bulkhead-fork")
    .map(Number);
}

function nameOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, "utf8").trim();
  } catch {
    return "";
  }
}

function parentOf(pid: string): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
  } catch {
    return 0;
  }
}

/** Waits until `condition` holds; fails after 45 s. */
export async function eventually(condition: () => boolean, what: string): Promise<void> {
  const deadline = Date.now() + 45_000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`never: ${what}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}
