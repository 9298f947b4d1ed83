import { execFile, spawn, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import {
  uuidV7,
  type AssignedNetwork,
  type AssignedPort,
  type AssignedShare,
  type Assignment,
  type HostId,
  type InstanceId,
  type Isolation,
  type ShareOutcome,
  type SnapshotId,
  type TakenSnapshot,
  type WorkloadId,
  type WorkloadSpec,
} from "@bulkhead/contracts";
import {
  closeMountArea,
  hostPaths,
  leaksBetween,
  openCgroupParents,
  readCgroups,
  removeCgroupParents,
  snapshotHost,
  type HostPaths,
  type HostSnapshot,
} from "@bulkhead/host";
import type { ContractCheck } from "@bulkhead/node";
import { startAgents, type AgentsProcess } from "./agents-process.ts";
import type { BothOrder, Mark } from "./both-agents.ts";
import { testKernels, type SharedParts } from "./machine-rig.ts";
import { programsIn } from "./monitor.ts";

const newId = (): string => uuidV7(Date.now(), randomBytes(10));
const networkId = "0190b5c0-0000-7000-8000-0000000000b1" as AssignedNetwork["networkId"];

/** A place in the one network of these tests, as a plan would give it out. */
export const placeOf = (member: number, names: string[], ports: AssignedPort[] = []): AssignedNetwork => ({
  networkId,
  name: "lan",
  mtu: 1400,
  internal: false,
  mac: `02:42:0a:1f:00:0${member}`,
  ipv4: { address: `10.31.0.${member}`, prefix: 24, gateway: "10.31.0.1" },
  ipv6: { address: `fd00:31::${member}`, prefix: 64, gateway: "fd00:31::1" },
  ports,
  names,
});

/** A host with a network of its own and both agents in it, which can be killed; it is checked for leaks at its end. */
export class MixedHost implements AsyncDisposable {
  readonly #root: string;
  readonly #hostId: HostId;
  readonly #shared: SharedParts;
  readonly #allowed: string;
  readonly #before: HostSnapshot;
  readonly #space: ChildProcess;
  #agents: AgentsProcess;

  private constructor(parts: {
    root: string;
    hostId: HostId;
    shared: SharedParts;
    allowed: string;
    before: HostSnapshot;
    space: ChildProcess;
  }) {
    this.#root = parts.root;
    this.#hostId = parts.hostId;
    this.#shared = parts.shared;
    this.#allowed = parts.allowed;
    this.#before = parts.before;
    this.#space = parts.space;
    this.#agents = startAgents(this.#network);
  }

  /** `allowed`: directories of this machine below which instances may have mounts. */
  static async open(shared: SharedParts, allowed = ""): Promise<MixedHost> {
    // Its own network leads nowhere, so what is downloaded once is there before.
    await testKernels.current();
    const [root, hostId] = [await mkdtemp("/tmp/bulkhead-mixed-"), newId() as HostId];
    const before = await snapshotHost(scopeOf(root, hostId));
    const space = spawn("unshare", ["--net", "sh", "-c", "ip link set lo up && echo ready && exec sleep 3600"], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    if (space.stdout !== null) await once(space.stdout, "data");
    const host = new MixedHost({ root, hostId, shared, allowed, before, space });
    await host.#openAgents();
    return host;
  }

  /** Where `nsenter` finds this host's network. */
  get #network(): string {
    return `/proc/${this.#space.pid}/ns/net`;
  }

  async startAgents(): Promise<void> {
    this.#agents = startAgents(this.#network);
    await this.#openAgents();
  }

  async #openAgents(): Promise<void> {
    const { image, directory: shared } = this.#shared;
    const place = { root: this.#root, hostId: this.#hostId };
    await this.#ask({ do: "open", allowed: this.#allowed, ...place, image, shared });
  }

  async killAgents(): Promise<void> {
    await this.#agents.kill();
  }

  /** The agents end as with `kill -9` once something has come as far as `mark`. */
  async agentsDieAt(mark: Mark): Promise<void> {
    await this.#ask({ do: "signal-at", mark, pid: null, signal: "SIGKILL" });
  }

  /** The machine's monitor stops, as if the host had no time for it, once something has come as far as `mark`. */
  async monitorStopsAt(assignment: Assignment, mark: Mark): Promise<Disposable> {
    const [pid = 0] = await this.processesOf(assignment);
    await this.#ask({ do: "signal-at", mark, pid, signal: "SIGSTOP" });
    return { [Symbol.dispose]: () => void process.kill(pid, "SIGCONT") };
  }

  async contract({ instanceId }: Assignment): Promise<ContractCheck> {
    return JSON.parse(await this.#ask({ do: "contract", instanceId })) as ContractCheck;
  }

  /** Where the agent of one kind keeps what it knows. */
  paths(isolation: Isolation): HostPaths {
    return hostPaths(`${this.#root}/state`, `${this.#root}/run`, this.#hostId, isolation);
  }

  async #ask(order: BothOrder): Promise<string> {
    return (await this.#agents.ask(order)).output;
  }

  assignment(
    isolation: Isolation,
    network: AssignedNetwork | null,
    changes: Partial<WorkloadSpec> = {},
    shares: AssignedShare[] = [],
  ): Assignment {
    return {
      instanceId: newId() as InstanceId,
      workloadId: newId() as WorkloadId,
      project: "default",
      name: network?.names[0] ?? "nameless",
      isolation,
      generation: 1,
      epoch: { era: 1, n: 1 },
      desired: "running",
      restartRequest: 0,
      imageDigest: this.#shared.image.manifestDigest,
      spec: {
        image: "busybox",
        isolation,
        command: ["sleep", "100000"],
        ...(network === null ? {} : { network: network.name }),
        resources: { cpuMillis: 500, memoryBytes: 160 * 2 ** 20 },
        ...changes,
      },
      cpuIds: [],
      ...(network === null ? {} : { network }),
      shares,
    };
  }

  async begin(assignment: Assignment): Promise<Assignment> {
    await this.#ask({ do: "start", assignment });
    return assignment;
  }

  start(...what: Parameters<MixedHost["assignment"]>): Promise<Assignment> {
    return this.begin(this.assignment(...what));
  }

  exec({ instanceId }: Assignment, script: string): Promise<string> {
    return this.#ask({ do: "exec", instanceId, command: ["sh", "-c", script] });
  }

  /** What came of each share when a running instance is to see these. */
  async reshare({ instanceId }: Assignment, shares: AssignedShare[]): Promise<ShareOutcome[]> {
    return JSON.parse(await this.#ask({ do: "reshare", instanceId, shares })) as ShareOutcome[];
  }

  async pause({ instanceId }: Assignment, paused: boolean): Promise<void> {
    await this.#ask({ do: "pause", instanceId, paused });
  }

  /** Waits until it ends by itself, and answers why. */
  endOf({ instanceId }: Assignment): Promise<string> {
    return this.#ask({ do: "await-end", instanceId });
  }

  /** Takes it to files, under a new id if none is given. */
  async snapshot(
    { instanceId }: Assignment,
    snapshotId: SnapshotId = newId() as SnapshotId,
  ): Promise<{ readonly snapshotId: SnapshotId; readonly taken: TakenSnapshot }> {
    const taken = await this.#ask({ do: "snapshot", instanceId, snapshotId });
    return { snapshotId, taken: JSON.parse(taken) as TakenSnapshot };
  }

  async removeSnapshot(snapshotId: SnapshotId): Promise<void> {
    await this.#ask({ do: "remove-snapshot", snapshotId });
  }

  /** What an instance needs to begin as a copy. */
  originOf(snapshotId: SnapshotId): NonNullable<WorkloadSpec["vm"]> {
    return { restoredFrom: { snapshotId, hostId: this.#hostId } };
  }

  /** Stops it as a user does, and answers how it ended. */
  stop({ instanceId }: Assignment, graceMs: number): Promise<string> {
    return this.#ask({ do: "stop", instanceId, graceMs });
  }

  /** All that it has said, both streams. */
  output({ instanceId }: Assignment): Promise<string> {
    return this.#ask({ do: "output", instanceId });
  }

  /** Takes away all of it, also of one that has ended. */
  async end({ instanceId }: Assignment): Promise<void> {
    await this.#ask({ do: "end", instanceId });
  }

  /** Its processes, the first one first: an instance's program, or a machine's monitor. */
  async processesOf({ instanceId, isolation }: Assignment): Promise<number[]> {
    const { runInstances } = this.paths(isolation);
    const [run = ""] = await readdir(join(runInstances, instanceId));
    const record = await readFile(join(runInstances, instanceId, run, "record.json"), "utf8");
    const { cgroup } = JSON.parse(record) as { cgroup: Record<string, string> };
    return programsIn(cgroup["pids"] ?? cgroup["unified"] ?? "");
  }

  /** Ends an instance's program, or a machine's monitor, with -9. */
  async kill(assignment: Assignment): Promise<void> {
    const [first = 0] = await this.processesOf(assignment);
    process.kill(first, "SIGKILL");
  }

  /** Ids of everything that runs, in order. */
  adopt(): Promise<string> {
    return this.#ask({ do: "adopt" });
  }

  /** What a shell script prints on this host, errors included; never rejects for its exit code. */
  async sh(script: string): Promise<string> {
    const { promise, resolve } = Promise.withResolvers<string>();
    execFile("nsenter", [`--net=${this.#network}`, "sh", "-c", script], { timeout: 20_000 }, (_error, out, err) =>
      resolve(`${out}${err}`.trim()),
    );
    return promise;
  }

  /** What becomes of a datagram that this host sends: the name of an error, or silence. */
  async datagram(address: string, port: number): Promise<string> {
    const program = `const s = require("node:dgram").createSocket("udp4"); s.on("error", (e) => { console.log(e.code); process.exit(); }); s.connect(${port}, "${address}", () => s.send("x")); setTimeout(() => process.exit(), 2000);`;
    return this.sh(`${process.execPath} -e '${program}'`);
  }

  /** Names of the links of this host that are not its loopback. */
  async links(): Promise<string[]> {
    const lines = (await this.sh("ip -o link | cut -d: -f2 | cut -d@ -f1")).split("\n");
    return lines.map((line) => line.trim()).filter((name) => name !== "lo" && name !== "");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#ask({ do: "close" });
    await this.killAgents();
    const exited = once(this.#space, "exit");
    this.#space.kill("SIGKILL");
    await exited;
    for (const isolation of ["container", "vm"] as const) {
      const { cgroups } = this.paths(isolation);
      await removeCgroupParents(await openCgroupParents(cgroups, readCgroups()));
    }
    await closeMountArea(this.paths("vm").runShares);
    await rm(this.#root, { recursive: true, force: true });
    const leaks = leaksBetween(this.#before, await snapshotHost(scopeOf(this.#root, this.#hostId)));
    if (leaks.length > 0) throw new Error(`left behind:\n${leaks.join("\n")}`);
  }
}

const scopeOf = (root: string, hostId: HostId) => {
  const { hash, run } = hostPaths(`${root}/state`, `${root}/run`, hostId);
  return {
    directories: [root, dirname(run)],
    cgroupPrefixes: [`bulkhead-${hash}`],
    commands: [root],
    networksOf: hash,
  };
};
