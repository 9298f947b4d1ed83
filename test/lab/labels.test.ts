// Labels of security modules, on hosts whose kernels have them on: the program runs under what its specification names,
// from its first instruction, and so does what joins it.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runtimePath } from "../oci/runtime.ts";
import { Lab } from "./lab.ts";

const patient = { timeoutMs: 120_000 };
const readAndWrite = "cat /proc/self/attr/current; cat /guarded; echo no >/guarded || echo refused; echo yes >/free";

/** A host with a bundle's root file system that has a file to guard. */
class LabelHost implements AsyncDisposable {
  readonly #lab: Lab;

  private constructor(lab: Lab) {
    this.#lab = lab;
  }

  static async boot(securityModule: "apparmor" | "selinux"): Promise<LabelHost> {
    const host = new LabelHost(await Lab.boot({ modprobe: [], securityModule }));
    await host.must(`mkdir -p /tmp/bundle /tmp/rootfs/bin /tmp/rootfs/proc
cp /bin/busybox /tmp/rootfs/bin/
for name in sh sleep cat echo grep; do ln -s busybox /tmp/rootfs/bin/$name; done
echo canary >/tmp/rootfs/guarded`);
    return host;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#lab[Symbol.asyncDispose]();
  }

  do(command: string, input?: string) {
    return this.#lab.run(command, { ...patient, ...(input === undefined ? {} : { input }) });
  }

  /** For what must succeed; answers its standard output. */
  async must(command: string, input?: string): Promise<string> {
    const { code, stdout, stderr } = await this.do(command, input);
    if (code !== 0) throw new Error(`${command} ended with ${code}: ${stdout}${stderr}`);
    return stdout;
  }

  async put(args: string[], processLabels: object, mountLabel?: string): Promise<void> {
    const config = {
      ociVersion: "1.2.0",
      process: {
        args,
        cwd: "/",
        env: ["PATH=/bin"],
        user: { uid: 0, gid: 0 },
        noNewPrivileges: true,
        ...processLabels,
      },
      root: { path: "/tmp/rootfs" },
      mounts: [
        { destination: "/proc", type: "proc", source: "proc" },
        { destination: "/dev", type: "tmpfs", source: "tmpfs" },
        { destination: "/scratch", type: "tmpfs", source: "tmpfs" },
        { destination: "/dev/mqueue", type: "mqueue", source: "mqueue" },
        { destination: "/dev/pts", type: "devpts", source: "devpts" },
      ],
      linux: {
        cgroupsPath: "/labels",
        namespaces: ["mount", "pid", "ipc", "uts"].map((type) => ({ type })),
        ...(mountLabel === undefined ? {} : { mountLabel }),
      },
    };
    await this.must("cat >/tmp/bundle/config.json", JSON.stringify(config));
  }

  oci(args: string): string {
    return `cd /tmp/bundle && ${runtimePath} --root /tmp/state ${args}`;
  }

  /** A `run` that is refused, and what is left of it. */
  async refused(): Promise<{ code: number; stdout: string; stderr: string; left: string }> {
    const ended = await this.do(this.oci("run one"));
    return { ...ended, left: await this.must("ls /tmp/state; ls -d /sys/fs/cgroup/labels 2>/dev/null || true") };
  }
}

describe("AppArmor", () => {
  /** May do everything but write one file. */
  const profile = `profile bulkhead-guarded flags=(attach_disconnected,mediate_deleted) {
  file,
  capability,
  network,
  signal,
  ptrace,
  deny /guarded w,
}
`;
  const guarded = { apparmorProfile: "bulkhead-guarded" };
  let host: LabelHost;

  beforeAll(async () => {
    host = await LabelHost.boot("apparmor");
    await host.must("mount -t securityfs securityfs /sys/kernel/security");
    await host.must("apparmor_parser --replace --skip-cache", profile);
  });
  afterAll(() => host[Symbol.asyncDispose]());

  test("a program runs under its profile, with no new privileges too", async () => {
    await host.put(["sh", "-c", readAndWrite], guarded);
    expect(await host.must(host.oci("run one 2>/dev/null"))).toBe("bulkhead-guarded (enforce)\ncanary\nrefused\n");
    expect(await host.must("cat /tmp/rootfs/guarded /tmp/rootfs/free")).toBe("canary\nyes\n");
  });

  test("without one it runs unconfined, and writes what the profile would not let it", async () => {
    await host.put(["sh", "-c", "cat /proc/self/attr/current; echo canary >/guarded && echo written"], {});
    expect(await host.must(host.oci("run one"))).toBe("unconfined\nwritten\n");
  });

  test("what joins a container is under its profile, or the one it is given", async () => {
    await host.put(["sleep", "1000"], guarded);
    await host.must(host.oci("run --detach one </dev/null >/dev/null 2>&1"));
    expect(await host.must(host.oci("exec one cat /proc/self/attr/current"))).toBe("bulkhead-guarded (enforce)\n");
    const given = await host.must(host.oci("exec --apparmor unconfined one cat /proc/self/attr/current"));
    expect(given).toBe("unconfined\n");
    await host.must(host.oci("delete --force one"));
  });

  test("a profile that is not loaded is refused by its name, and leaves nothing", async () => {
    await host.put(["true"], { apparmorProfile: "bulkhead-unknown" });
    expect(await host.refused()).toMatchObject({
      code: 1,
      stdout: "",
      stderr: expect.stringContaining("labels: apparmor bulkhead-unknown: No such file"),
      left: "",
    });
  });
});

describe("SELinux", () => {
  /** The smallest policy that can say no: what it does not name is allowed (`checkpolicy -U allow`). */
  const policy = `class process
class file
sid kernel
sid security
sid unlabeled
sid fs
sid file
class process { transition dyntransition }
class file { write entrypoint }
policycap nnp_nosuid_transition;
type base_t;
type container_t;
type guarded_t;
type scratch_t;
role base_r;
role base_r types { base_t container_t guarded_t scratch_t };
allow { base_t container_t } { base_t container_t scratch_t }:file { write entrypoint };
allow base_t guarded_t:file { write entrypoint };
allow base_t { base_t container_t }:process { transition dyntransition };
allow container_t container_t:process { transition dyntransition };
user system_u roles base_r;
${["kernel", "security", "unlabeled", "fs", "file"].map((sid) => `sid ${sid} system_u:base_r:base_t`).join("\n")}
fs_use_xattr ext4 system_u:base_r:base_t;
${["tmpfs", "devpts", "mqueue"].map((type) => `fs_use_trans ${type} system_u:base_r:base_t;`).join("\n")}
${["proc", "selinuxfs"].map((type) => `genfscon ${type} / system_u:base_r:base_t`).join("\n")}
`;
  const label = "system_u:base_r:container_t";
  const scratch = "system_u:base_r:scratch_t";
  let host: LabelHost;

  beforeAll(async () => {
    host = await LabelHost.boot("selinux");
    // The kernel takes a policy in one write.
    await host.must("mount -t selinuxfs selinuxfs /sys/fs/selinux");
    await host.must("cat >/tmp/policy.conf && checkpolicy -U allow -c 33 -o /tmp/policy /tmp/policy.conf", policy);
    await host.must("dd if=/tmp/policy of=/sys/fs/selinux/load bs=1M status=none && echo 1 >/sys/fs/selinux/enforce ");
    await host.must("setfattr -n security.selinux -v system_u:base_r:guarded_t /tmp/rootfs/guarded");
  });
  afterAll(() => host[Symbol.asyncDispose]());

  test("a program runs with its label, with no new privileges too", async () => {
    await host.put(["sh", "-c", readAndWrite], { selinuxLabel: label });
    expect(await host.must(host.oci("run one 2>/dev/null"))).toBe(`${label}\0canary\nrefused\n`);
    expect(await host.must("cat /tmp/rootfs/guarded /tmp/rootfs/free")).toBe("canary\nyes\n");
  });

  test("without one it has the runtime's, and writes what the label would not let it", async () => {
    await host.put(["sh", "-c", "cat /proc/self/attr/current; echo canary >/guarded && echo written"], {});
    expect(await host.must(host.oci("run one"))).toBe("system_u:base_r:base_t\0written\n");
  });

  test("the file systems that are made for it have the mount label, and those of the kernel do not", async () => {
    const labelled = "grep context= /proc/self/mountinfo";
    await host.put(
      ["sh", "-c", `${labelled}; echo mine >/scratch/file && cat /scratch/file`],
      { selinuxLabel: label },
      scratch,
    );
    const lines = (await host.must(host.oci("run one"))).trimEnd().split("\n");
    const places = lines.slice(0, -1).map((line) => line.split(" ")[4]);
    expect(places).toEqual(["/dev", "/scratch", "/dev/pts"]);
    expect(lines.filter((line) => line.includes(`context=${scratch}`))).toHaveLength(places.length);
    expect(lines.at(-1)).toBe("mine");
  });

  test("what joins a container has its label, or the one it is given", async () => {
    await host.put(["sleep", "1000"], { selinuxLabel: label });
    await host.must(host.oci("run --detach one </dev/null >/dev/null 2>&1"));
    expect(await host.must(host.oci("exec one cat /proc/self/attr/current"))).toBe(`${label}\0`);
    const given = "system_u:base_r:base_t";
    expect(await host.must(host.oci(`exec --process-label ${given} one cat /proc/self/attr/current`))).toBe(
      `${given}\0`,
    );
    await host.must(host.oci("delete --force one"));
  });

  test("a label that the policy does not know is refused by its name, and leaves nothing", async () => {
    await host.put(["true"], { selinuxLabel: "system_u:base_r:unknown_t" });
    expect(await host.refused()).toMatchObject({
      code: 1,
      stdout: "",
      stderr: expect.stringContaining("labels: selinux system_u:base_r:unknown_t"),
      left: "",
    });
  });
});
