import { execFile, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readdir, readFile, readlink } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type {
  AssignedNamespaces,
  AssignedNetwork,
  AssignedPort,
  Assignment,
  Digest,
  InstanceId,
} from "@bulkhead/contracts";
import type { Rig, SpecChanges } from "./rig.ts";
import type { NetworkOrder, NetworkReply } from "./network-agent.ts";

/** A network of a test's, as a plan would give it out: `number` makes its ranges. */
export interface TestNetwork {
  readonly id: string;
  readonly number: number;
  readonly internal?: boolean;
}

export const networkOf = (
  { id, number, internal = false }: TestNetwork,
  member: number,
  { ports = [], names = [] }: { ports?: AssignedPort[]; names?: string[] } = {},
): AssignedNetwork => ({
  networkId: id as AssignedNetwork["networkId"],
  name: `net${number}`,
  mtu: 1500,
  internal,
  mac: `02:42:0a:${number.toString(16).padStart(2, "0")}:00:${member.toString(16).padStart(2, "0")}`,
  ipv4: { address: `10.${number}.0.${member}`, prefix: 24, gateway: `10.${number}.0.1` },
  ipv6: { address: `fd00:${number}::${member.toString(16)}`, prefix: 64, gateway: `fd00:${number}::1` },
  ports,
  names,
});

/** A machine's network of its own, with an agent in it that can be killed. Nothing here touches the real one. */
export class NetworkHost implements AsyncDisposable {
  readonly rig: Rig;
  readonly #space: ChildProcess;
  readonly #image: Digest;
  readonly #hostNetwork: boolean;
  #agent: ChildProcess | undefined;
  #replies: AsyncIterator<string> | undefined;

  private constructor(parts: { rig: Rig; space: ChildProcess; image: Digest; hostNetwork: boolean }) {
    this.rig = parts.rig;
    this.#space = parts.space;
    this.#image = parts.image;
    this.#hostNetwork = parts.hostNetwork;
  }

  static async open(rig: Rig, image: Digest, { hostNetwork = false } = {}): Promise<NetworkHost> {
    const space = spawn("unshare", ["--net", "sh", "-c", "ip link set lo up && echo ready && exec sleep 3600"], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    if (space.stdout !== null) await once(space.stdout, "data");
    const host = new NetworkHost({ rig, space, image, hostNetwork });
    await host.startAgent();
    return host;
  }

  get #path(): string {
    return `/proc/${this.#space.pid}/ns/net`;
  }

  async startAgent(): Promise<void> {
    const program = join(import.meta.dirname, "network-agent.ts");
    this.#agent = spawn("nsenter", [`--net=${this.#path}`, process.execPath, program], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    if (this.#agent.stdout === null) throw new Error("no output");
    this.#replies = createInterface({ input: this.#agent.stdout })[Symbol.asyncIterator]();
    const image = await this.rig.ensured(this.#image);
    await this.#ask({ do: "open", paths: this.rig.paths, image, hostNetwork: this.#hostNetwork });
  }

  /** Ends the agent with -9. */
  async killAgent(): Promise<void> {
    if (this.#agent === undefined) return;
    const exited = once(this.#agent, "exit");
    this.#agent.kill("SIGKILL");
    await exited;
    this.#agent = undefined;
  }

  async #ask(order: NetworkOrder): Promise<Exclude<NetworkReply, { failed: string }>> {
    this.#agent?.stdin?.write(`${JSON.stringify(order)}\n`);
    const { value, done } = (await this.#replies?.next()) ?? { value: undefined, done: true };
    if (done === true || value === undefined) throw new Error("the agent ended");
    const reply = JSON.parse(value) as NetworkReply;
    if ("failed" in reply) throw new Error(`${reply.failed}: ${reply.detail}`);
    return reply;
  }

  /** Runs a shell script in a container connected to a network; without one it has loopback only. */
  async start(script: string, network?: AssignedNetwork, changes: SpecChanges = {}): Promise<Assignment> {
    const spec = { command: ["sh", "-c", script], network: network?.name ?? "none", ...changes };
    const assignment = { ...this.rig.assignment(this.#image, spec), ...(network === undefined ? {} : { network }) };
    return this.startAs(assignment);
  }

  /** The same as a member of a share's namespaces. */
  async startIn(namespaces: AssignedNamespaces, script: string, network?: AssignedNetwork): Promise<Assignment> {
    const spec = { command: ["sh", "-c", script], network: network?.name ?? "none" };
    const assignment = { ...this.rig.assignment(this.#image, spec), namespaces };
    return this.startAs(network === undefined ? assignment : { ...assignment, network });
  }

  async startAs(assignment: Assignment, attempt = 0): Promise<Assignment> {
    await this.#ask({ do: "start", assignment, attempt });
    return assignment;
  }

  /** Waits until the program ends and answers what it printed. */
  async output({ instanceId }: Assignment): Promise<string> {
    return (await this.#ask({ do: "await", instanceId })).output ?? "";
  }

  async end({ instanceId }: Assignment, { remove = true } = {}): Promise<void> {
    await this.#ask({ do: "end", instanceId, remove });
  }

  /** Its contract, and what it can see. */
  async look({ instanceId }: Assignment): Promise<Exclude<NetworkReply, { failed: string }>> {
    return this.#ask({ do: "look", instanceId });
  }

  async adopt(): Promise<readonly InstanceId[]> {
    return (await this.#ask({ do: "adopt" })).runs ?? [];
  }

  /** What `bulkhead down` does about networks. */
  async endNetworks(): Promise<void> {
    await this.#ask({ do: "endNetworks" });
  }

  /** What nft(8) says is in this host's kernel. */
  async ruleset(): Promise<string> {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    execFile("nsenter", [`--net=${this.#path}`, "nft", "list", "ruleset"], (error, out) =>
      error === null ? resolve(out) : reject(error),
    );
    return promise;
  }

  /** What a shell script prints on this host, errors included; never rejects for its exit code. */
  async sh(script: string, path = this.#path): Promise<string> {
    const { promise, resolve } = Promise.withResolvers<string>();
    execFile("nsenter", [`--net=${path}`, "busybox", "sh", "-c", script], { timeout: 60_000 }, (_error, out, err) =>
      resolve(`${out}${err}`.trim()),
    );
    return promise;
  }

  /** The same inside an instance's network, with the host's programs. */
  async inside({ instanceId }: Assignment, script: string): Promise<string> {
    return this.sh(script, `/proc/${await this.#pidOf(instanceId)}/ns/net`);
  }

  /** Gives this host a link to an instance without a network, which then stands for the world outside. */
  async uplink({ instanceId }: Assignment, own: string, theirs: string): Promise<void> {
    const pid = await this.#pidOf(instanceId);
    // iproute2's ip: busybox's knows no namespaces by process id.
    await this.#run(["/sbin/ip", "link", "add", "up0", "type", "veth", "peer", "name", "up1", "netns", String(pid)]);
    await this.sh(`ip addr add ${own} dev up0; ip link set up0 up`);
    await this.sh(`ip addr add ${theirs} dev up1; ip link set up1 up; ip link set lo up`, `/proc/${pid}/ns/net`);
  }

  async #run(command: readonly string[]): Promise<void> {
    const child = spawn("nsenter", [`--net=${this.#path}`, ...command], { stdio: "inherit" });
    const [code] = (await once(child, "exit")) as [number | null];
    if (code !== 0) throw new Error(`${command.join(" ")} ended with ${code}`);
  }

  /** Answers every datagram with `hello` inside an instance's network until disposed. */
  udpEcho(instance: Assignment, port: number): Promise<AsyncDisposable> {
    return this.#serve(
      instance,
      `const s = require("node:dgram").createSocket("udp6"); s.on("message", (m, r) => s.send("hello", r.port, r.address)); s.bind(${port}, () => console.log("ready"));`,
    );
  }

  /** Tells everyone who connects inside an instance's network from which address, until disposed. */
  callerAddress(instance: Assignment, port: number): Promise<AsyncDisposable> {
    return this.#serve(
      instance,
      `require("node:net").createServer((c) => c.on("error", () => {}).end(c.remoteAddress)).listen(${port}, () => console.log("ready"));`,
    );
  }

  async #serve({ instanceId }: Assignment, program: string): Promise<AsyncDisposable> {
    const path = `/proc/${await this.#pidOf(instanceId)}/ns/net`;
    const child = spawn("nsenter", [`--net=${path}`, process.execPath, "-e", program], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await once(child.stdout, "data");
    return {
      [Symbol.asyncDispose]: async () => {
        const exited = once(child, "exit");
        child.kill("SIGKILL");
        await exited;
      },
    };
  }

  /** What answers a datagram sent from this host; empty after two seconds of silence. */
  async udpAsk(address: string, port: number): Promise<string> {
    const type = address.includes(":") ? "udp6" : "udp4";
    const program = `const s = require("node:dgram").createSocket("${type}"); s.on("message", (m) => { console.log(String(m)); s.close(); }); s.send("x", ${port}, "${address}"); setTimeout(() => process.exit(), 2000).unref();`;
    const { promise, resolve } = Promise.withResolvers<string>();
    execFile("nsenter", [`--net=${this.#path}`, process.execPath, "-e", program], { timeout: 30_000 }, (_error, out) =>
      resolve(out.trim()),
    );
    return promise;
  }

  /** Ends its first process with -9, whoever looks after it. */
  async kill({ instanceId }: Assignment): Promise<void> {
    process.kill(await this.#pidOf(instanceId), "SIGKILL");
  }

  async #pidOf(instanceId: InstanceId): Promise<number> {
    const own = await readlink(this.#path);
    for (const run of await readdir(join(this.rig.paths.runInstances, instanceId))) {
      const text = await readFile(join(this.rig.paths.runInstances, instanceId, run, "record.json"), "utf8");
      const { cgroup } = JSON.parse(text) as { cgroup: Record<string, string> };
      const procs = await readFile(join(cgroup["pids"] ?? cgroup["unified"] ?? "", "cgroup.procs"), "utf8");
      const pid = Number(procs.split("\n")[0]);
      if ((await readlink(`/proc/${pid}/ns/net`)) !== own) return pid;
    }
    throw new Error(`${instanceId} has no network of its own`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      // The rig outlives this machine: what it remembers of its networks and settings would be taken for the next one's.
      if (this.#agent === undefined) await this.startAgent();
      await this.endNetworks();
    } finally {
      await this.killAgent();
      const exited = once(this.#space, "exit");
      this.#space.kill("SIGKILL");
      await exited;
    }
  }
}
