import { closeSync, mkdirSync, openSync, readlinkSync, rmdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { AssignedNamespaces, SharedNamespaceType } from "@bulkhead/contracts";
import type { HostPaths, UidRange, UidRanges } from "@bulkhead/host";
import {
  compilePlan,
  initPath,
  isAlive,
  readStatus,
  removeTree,
  sendSignal,
  start,
  watchExit,
  type CgroupPlacement,
  type OciNamespace,
  type ProcessRef,
} from "@bulkhead/native-namespaces";
import { capabilitySets } from "../capabilities.ts";
import { endLeftover } from "../leftover.ts";
import { namespacesOf } from "../oci-spec.ts";
import { ociResources, type Enforcement } from "../resources.ts";
import { defaultSeccomp } from "../seccomp-profile.ts";
import { holderDirectory, makeResolvConf } from "./name-servers.ts";

/** Kernel's name of each namespace that instances share. */
const kernelNames: Readonly<Record<SharedNamespaceType | "user", string>> = {
  network: "net",
  ipc: "ipc",
  pid: "pid",
  uts: "uts",
  user: "user",
};

/** What a holder may use: it only waits. */
const holderResources = { cpuMillis: 10, memoryBytes: 16 * 1024 * 1024, pidsMax: 16 };
/** Its program, as its members see it among the processes of a pid namespace. */
const programPath = "/bulkhead-hold";

export interface HolderHost {
  readonly paths: Pick<HostPaths, "shares" | "runShares">;
  readonly uidRanges: UidRanges;
  enforcement(): Enforcement;
  cgroupOf(name: string): CgroupPlacement["paths"];
}

/** Namespaces that are there, and the ids of everybody in them. */
export interface HeldNamespaces {
  readonly uidRange: UidRange;
  readonly holder: ProcessRef;
  /** path of what says which name servers can be reached from the network namespace */
  readonly resolvConf: string;
}

/** The namespaces of a share, open. */
export class OpenNamespaces implements Disposable {
  readonly #descriptors = new Map<SharedNamespaceType | "user", number>();

  /** Throws what the kernel says, ENOENT when the holder has ended. */
  constructor(holder: ProcessRef, types: readonly SharedNamespaceType[]) {
    try {
      for (const type of [...types, "user"] as const) {
        this.#descriptors.set(type, openSync(`/proc/${holder.pid}/ns/${kernelNames[type]}`, "r"));
      }
      // What was opened was the holder's only if it is still there.
      if (!isAlive(holder)) throw new Error("the process that holds the namespaces has ended");
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /** By our descriptor, so that no process number can come to mean another; undefined for one that is not among them. */
  pathOf(type: SharedNamespaceType | "user"): string | undefined {
    const descriptor = this.#descriptors.get(type);
    return descriptor === undefined ? undefined : `/proc/${process.pid}/fd/${descriptor}`;
  }

  /** How a plan names them. */
  joins(): OciNamespace[] {
    return [...this.#descriptors.keys()].flatMap((type) => {
      const path = this.pathOf(type);
      return path === undefined ? [] : [{ type, path }];
    });
  }

  [Symbol.dispose](): void {
    for (const fd of this.#descriptors.values()) closeSync(fd);
    this.#descriptors.clear();
  }
}

/**
 * Keeps namespaces that instances share: for each share a small process of ours in a root of its own program only, with
 * namespaces of the kernel's every kind, under a guardian, in a cgroup, like any container. Its state is
 * `$RUN/shares/ID/holder`, so it is found again by whoever looks.
 */
export class NamespaceHolders {
  readonly #host: HolderHost;

  constructor(host: HolderHost) {
    this.#host = host;
  }

  #runDir(shareId: string): string {
    return holderDirectory(this.#host.paths, shareId);
  }

  #cgroup(shareId: string): CgroupPlacement {
    return { paths: this.#host.cgroupOf(`${shareId}.holder`) };
  }

  /** The process that holds a share's namespaces; null when there is none. */
  find(shareId: string): ProcessRef | null {
    const status = readStatus(this.#runDir(shareId));
    return status !== null && isAlive(status.init) ? status.init : null;
  }

  /** Kernel's links of what a share holds, by the kernel's names; null when nothing holds them any more. */
  linksOf({ shareId, namespaces }: AssignedNamespaces): ReadonlyMap<string, string> | null {
    const holder = this.find(shareId);
    if (holder === null) return null;
    const names = [...namespaces, "user" as const].map((type) => kernelNames[type]);
    const links = new Map(names.map((name) => [name, readlinkSync(`/proc/${holder.pid}/ns/${name}`)]));
    return isAlive(holder) ? links : null;
  }

  /** Makes the namespaces of a share, unless they are there. Rejects with everything undone. */
  async ensure(share: AssignedNamespaces): Promise<HeldNamespaces> {
    const { shareId } = share;
    const uidRange = this.#host.uidRanges.allocate(shareId);
    const found = this.find(shareId);
    if (found !== null) return this.#held(shareId, uidRange, found);
    // Whatever an earlier one left, or an agent that was killed while it made one.
    await this.end(shareId);
    const runDir = this.#runDir(shareId);
    mkdirSync(runDir, { recursive: true, mode: 0o700 });
    const started = await start(this.#plan(share, uidRange, runDir));
    // Its end is looked for when it matters; here it is only reaped.
    void started.watchEnd();
    return this.#held(shareId, uidRange, started.init);
  }

  #held(shareId: string, uidRange: UidRange, holder: ProcessRef): HeldNamespaces {
    return { uidRange, holder, resolvConf: makeResolvConf(this.#host.paths, shareId) };
  }

  #plan({ shareId, name, namespaces }: AssignedNamespaces, uidRange: UidRange, runDir: string) {
    const root = join(this.#host.paths.shares, shareId, "root");
    // The places of its two mounts: it owns nothing on the host's disk and could not make them.
    mkdirSync(join(root, "proc"), { recursive: true, mode: 0o755 });
    writeFileSync(join(root, programPath), "");
    const mapping = [{ containerID: 0, hostID: uidRange.firstId, size: uidRange.ids }];
    return compilePlan({
      spec: {
        ociVersion: "1.2.0",
        process: {
          args: [programPath, "hold"],
          cwd: "/",
          user: { uid: 0, gid: 0 },
          capabilities: capabilitySets([]),
          noNewPrivileges: true,
        },
        root: { path: "rootfs", readonly: true },
        hostname: name,
        mounts: [
          { destination: "/proc", type: "proc", source: "proc", options: ["nosuid", "noexec", "nodev"] },
          { destination: programPath, type: "bind", source: initPath, options: ["bind", "ro", "nosuid", "nodev"] },
        ],
        linux: {
          namespaces: namespacesOf(false).map((type) => ({ type })),
          uidMappings: mapping,
          gidMappings: mapping,
          resources: ociResources(holderResources, [], this.#host.enforcement()),
          seccomp: defaultSeccomp([]),
          // As in an instance's own network.
          ...(namespaces.includes("network") ? { sysctl: { "net.ipv4.ip_unprivileged_port_start": "0" } } : {}),
        },
      },
      rootfs: { kind: "directory", path: root },
      cgroup: this.#cgroup(shareId),
      runDir,
      log: null,
      lease: null,
      binds: { 1: { beneath: dirname(initPath), idmap: false } },
    });
  }

  /** Ends the holder, if there is one; nobody else may be in the namespaces any more. */
  async end(shareId: string): Promise<void> {
    const runDir = this.#runDir(shareId);
    const status = readStatus(runDir);
    await endLeftover(this.#cgroup(shareId));
    if (status !== null) {
      sendSignal(status.init, 9);
      using ending = watchExit(status.shim);
      await ending.exited;
    }
    removeTree(runDir);
    try {
      rmdirSync(dirname(runDir));
    } catch {
      // Its memory is mounted there, or it was never made.
    }
  }

  /** The ids of a share are free; only when no file on disk belongs to them any more. */
  free(shareId: string): void {
    this.#host.uidRanges.free(shareId);
  }
}
