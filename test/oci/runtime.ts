// Bundles of a static busybox, and runs of the command line on them.
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const runtimePath = fileURLToPath(new URL("../../native/namespaces/build/bulkhead-oci", import.meta.url));

const applets = [
  "sh",
  "true",
  "cat",
  "echo",
  "id",
  "sleep",
  "ps",
  "ls",
  "stty",
  "tty",
  "env",
  "pwd",
  "kill",
  "test",
  "touch",
  "readlink",
  "dd",
  "head",
  "yes",
  "umask",
  "grep",
  "printf",
  "trap",
  "wc",
  "seq",
  "mkdir",
  "stat",
];

export interface Finished {
  status: number;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

/** Runs a program to its end; `input` becomes its standard input. Killed after two minutes. */
export const execute = async (
  command: string,
  args: readonly string[],
  options: { input?: string | undefined; env?: NodeJS.ProcessEnv | undefined; cwd?: string | undefined } = {},
): Promise<Finished> => {
  const child = spawn(command, args, {
    stdio: ["pipe", "pipe", "pipe"],
    timeout: 120_000,
    killSignal: "SIGKILL",
    ...(options.env === undefined ? {} : { env: options.env }),
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString("utf8")));
  child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString("utf8")));
  child.stdin.on("error", () => {});
  child.stdin.end(options.input ?? "");
  const [status, signal] = (await once(child, "close")) as [number | null, NodeJS.Signals | null];
  return { status: status ?? -1, signal, stdout, stderr };
};

/** Waits until `condition` answers something; fails after 45 s. */
export const eventually = async <T>(
  what: string,
  condition: () => T | undefined | Promise<T | undefined>,
): Promise<T> => {
  const deadline = Date.now() + 45_000;
  for (;;) {
    const value = await condition();
    if (value !== undefined && value !== false) return value;
    if (Date.now() > deadline) throw new Error(`never: ${what}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
};

const mounts = [
  { destination: "/proc", type: "proc", source: "proc", options: ["nosuid", "noexec", "nodev"] },
  {
    destination: "/dev",
    type: "tmpfs",
    source: "tmpfs",
    options: ["nosuid", "strictatime", "mode=755", "size=65536k"],
  },
  {
    destination: "/dev/pts",
    type: "devpts",
    source: "devpts",
    options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
  },
];

export interface Config {
  ociVersion: string;
  process: {
    args: string[];
    cwd: string;
    env: string[];
    terminal?: boolean;
    user: { uid: number; gid: number; umask?: number };
    [name: string]: unknown;
  };
  root: { path: string; readonly?: boolean };
  hooks?: Record<string, { path: string; args?: string[]; env?: string[]; timeout?: number }[]>;
  mounts: { destination: string; type: string; source: string; options: string[] }[];
  linux: { cgroupsPath: string; namespaces: { type: string; path?: string }[]; [name: string]: unknown };
  annotations?: Record<string, string>;
  [name: string]: unknown;
}

let count = 0;

/** A state directory, bundles and everything that was run with them; gone when it is disposed. */
export class Place implements AsyncDisposable {
  readonly path = mkdtempSync(join(tmpdir(), "bulkhead-oci-"));
  readonly root = join(this.path, "state");
  readonly rootfs = join(this.path, "rootfs");
  readonly cgroup = `bulkhead-oci-${process.pid}-${(count += 1)}`;

  constructor() {
    mkdirSync(join(this.rootfs, "bin"), { recursive: true });
    for (const name of ["etc", "proc", "dev", "tmp"]) mkdirSync(join(this.rootfs, name));
    copyFileSync("/bin/busybox", join(this.rootfs, "bin/busybox"));
    for (const name of applets) symlinkSync("busybox", join(this.rootfs, "bin", name));
    writeFileSync(join(this.rootfs, "etc/passwd"), "root:x:0:0::/root:/bin/sh\nann:x:700:701::/home/ann:/bin/sh\n");
    writeFileSync(join(this.rootfs, "etc/group"), "root:x:0:\nann:x:701:\n");
  }

  /** Writes a bundle and answers its directory. */
  bundle(args: readonly string[], change: (config: Config) => void = () => {}): string {
    const directory = mkdtempSync(join(this.path, "bundle-"));
    const config: Config = {
      ociVersion: "1.0.2",
      process: { args: [...args], cwd: "/", env: ["PATH=/bin"], user: { uid: 0, gid: 0 }, noNewPrivileges: true },
      root: { path: this.rootfs },
      mounts: structuredClone(mounts),
      linux: {
        cgroupsPath: `/${this.cgroup}/${directory.slice(-6)}`,
        namespaces: ["mount", "pid", "ipc", "uts", "network", "cgroup"].map((type) => ({ type })),
      },
    };
    change(config);
    writeFileSync(join(directory, "config.json"), JSON.stringify(config));
    return directory;
  }

  /** `bulkhead-oci` with this place's state. */
  run(args: readonly string[], options: { input?: string; env?: NodeJS.ProcessEnv } = {}): Promise<Finished> {
    return execute(runtimePath, ["--root", this.root, ...args], options);
  }

  /** As run(), for what must succeed; answers its standard output. */
  async must(args: readonly string[], options: { input?: string } = {}): Promise<string> {
    const { status, stdout, stderr } = await this.run(args, options);
    if (status !== 0) throw new Error(`bulkhead-oci ${args.join(" ")} ended with ${status}: ${stderr}`);
    return stdout;
  }

  async state(id: string): Promise<{ status: string; pid: number; bundle: string; id: string; ociVersion: string }> {
    return JSON.parse(await this.must(["state", id]));
  }

  /** A container whose stdio goes to a file, so that nobody waits for its end of file. */
  async create(id: string, bundle: string, ...options: string[]): Promise<void> {
    const { status, stdout, stderr } = await execute("sh", [
      "-c",
      'out=$1; shift; exec "$@" </dev/null >>"$out" 2>>"$out"',
      "sh",
      this.output(id),
      runtimePath,
      "--root",
      this.root,
      "create",
      "--bundle",
      bundle,
      ...options,
      id,
    ]);
    if (status !== 0) throw new Error(`create ended with ${status}: ${stdout}${stderr}${this.said(id)}`);
  }

  output(id: string): string {
    return join(this.path, `${id}.out`);
  }

  said(id: string): string {
    return existsSync(this.output(id)) ? readFileSync(this.output(id), "utf8") : "";
  }

  /** A script of the host's. */
  script(name: string, text: string): string {
    const path = join(this.path, name);
    writeFileSync(path, `#!/bin/sh\n${text}\n`);
    chmodSync(path, 0o755);
    return path;
  }

  /** What the kernel holds for this place: cgroup directories of containers. */
  cgroups(): string[] {
    // podman puts its monitors beside its containers, in a cgroup that it never removes.
    // On a host with cgroup v2 alone the one hierarchy is the mount itself.
    return ["", ...readdirSync("/sys/fs/cgroup")].flatMap((hierarchy) => {
      const directory = join("/sys/fs/cgroup", hierarchy, this.cgroup);
      if (!existsSync(directory)) return [];
      return readdirSync(directory, { withFileTypes: true })
        .filter((entry) => entry.isDirectory() && entry.name !== "conmon")
        .map((entry) => join(directory, entry.name));
    });
  }

  /** What no container of this place may leave. */
  protected leftovers(): string[] {
    return this.cgroups();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ids = existsSync(this.root) ? readdirSync(this.root) : [];
    for (const id of ids) await this.run(["delete", "--force", id]);
    const left = this.leftovers();
    for (const place of [
      "/sys/fs/cgroup",
      ...readdirSync("/sys/fs/cgroup").map((name) => join("/sys/fs/cgroup", name)),
    ]) {
      const parent = join(place, this.cgroup);
      if (existsSync(parent)) await execute("find", [parent, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";"]);
    }
    rmSync(this.path, { recursive: true, force: true });
    if (left.length > 0) throw new Error(`cgroups were left: ${left.join(" ")}`);
  }
}
