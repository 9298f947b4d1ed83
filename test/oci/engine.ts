// What the tests of container engines share: a place of their own, and one image of a static busybox.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { execute, type Finished, Place, runtimePath } from "./runtime.ts";

/** podman and buildah with every file they keep below a temporary directory. */
export class Engine extends Place {
  readonly #program: "podman" | "buildah";
  readonly #env: NodeJS.ProcessEnv;
  /**
   * The runtime with its states kept here: its default place is the host's. A program and no `--runtime-flag`, which
   * podman does not hand on to the clean-up after a container's end.
   */
  readonly runtime = this.script("bulkhead-oci", `exec ${runtimePath} --root ${this.root} "$@"`);

  private constructor(program: "podman" | "buildah") {
    super();
    this.#program = program;
    for (const name of ["home", "run", "etc"]) mkdirSync(join(this.path, name));
    const configuration = join(this.path, "etc/containers.conf");
    // No network, no journal, no systemd: what a container host of ours lacks too.
    writeFileSync(
      configuration,
      [
        "[engine]",
        'cgroup_manager = "cgroupfs"',
        'events_logger = "file"',
        `tmp_dir = "${join(this.path, "run/tmp")}"`,
        "[containers]",
        `cgroups = "enabled"`,
        'log_driver = "k8s-file"',
        // A process without CAP_SYS_RESOURCE cannot raise its limits to podman's own defaults.
        'default_ulimits = ["nofile=1000:1000", "nproc=1000:1000"]',
        "",
      ].join("\n"),
    );
    const policy = join(this.path, "etc/policy.json");
    writeFileSync(policy, JSON.stringify({ default: [{ type: "insecureAcceptAnything" }] }));
    this.#env = {
      PATH: "/usr/sbin:/usr/bin:/sbin:/bin",
      HOME: join(this.path, "home"),
      XDG_RUNTIME_DIR: join(this.path, "run"),
      CONTAINERS_CONF: configuration,
      TMPDIR: join(this.path, "run"),
      BUILDAH_ISOLATION: "oci",
    };
  }

  /** An engine that has the image `busybox`. */
  static async open(program: "podman" | "buildah"): Promise<Engine> {
    const engine = new Engine(program);
    const archive = join(engine.path, "busybox.tar");
    await execute("tar", ["-C", engine.rootfs, "-cf", archive, "."]);
    if (program === "podman") await engine.mustDo("import", archive, "busybox");
    return engine;
  }

  do(args: readonly string[], input?: string): Promise<Finished> {
    const storage = ["--root", join(this.path, "root"), "--runroot", join(this.path, "runroot")];
    const runtime = this.#program === "podman" ? ["--runtime", this.runtime] : [];
    return execute(this.#program, [...storage, ...runtime, ...args], { input, env: this.#env });
  }

  /** As do(), for what must succeed; answers its standard output. */
  async mustDo(...args: string[]): Promise<string> {
    const { status, stdout, stderr } = await this.do(args);
    if (status !== 0) throw new Error(`${this.#program} ${args.join(" ")} ended with ${status}: ${stderr}`);
    return stdout;
  }

  /** podman removes a pod's cgroup from the v1 hierarchies only, whichever runtime made it in the unified one. */
  protected override leftovers(): string[] {
    return super.leftovers().filter((path) => !path.startsWith("/sys/fs/cgroup/unified/"));
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    if (this.#program === "podman") {
      await this.do(["pod", "rm", "--all", "--force", "--time", "0"]);
      await this.do(["rm", "--all", "--force", "--time", "0"]);
    } else {
      await this.do(["rm", "--all"]);
    }
    await this.do(["rmi", "--all", "--force"]);
    // The graph driver keeps its own directory mounted.
    for (const name of ["root/overlay", "root/overlay-containers", "runroot"])
      await execute("umount", ["--recursive", "--quiet", join(this.path, name)]);
    await super[Symbol.asyncDispose]();
  }
}
