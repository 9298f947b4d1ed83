import { fork } from "node:child_process";
import { dirname, join } from "node:path";
import type { Assignment, Digest, InstanceId } from "@bulkhead/contracts";
import { hostPaths, openCgroupParents, removeCgroupParents, type HostPaths } from "@bulkhead/host";
import type { EnsuredImage } from "@bulkhead/images";
import type { CpuOrder, CpuReply } from "./cpu-agent.ts";
import type { Rig } from "./rig.ts";
import { ToldProcess } from "./told-process.ts";

/** The agent of the other kind on a rig's host, as far as CPUs are concerned: a process of its own, which can be killed. */
export class OtherAgent implements AsyncDisposable {
  readonly paths: HostPaths;
  readonly #image: EnsuredImage;
  #process!: ToldProcess<CpuOrder, CpuReply>;

  private constructor(paths: HostPaths, image: EnsuredImage) {
    this.paths = paths;
    this.#image = image;
  }

  static async open(rig: Rig, digest: Digest): Promise<OtherAgent> {
    const { state, run, hostId } = rig.paths;
    const paths = hostPaths(dirname(dirname(state)), dirname(run), hostId, "vm");
    const agent = new OtherAgent(paths, await rig.ensured(digest));
    await agent.begin();
    return agent;
  }

  /** A process is there and has the host open; nothing is adopted. */
  async begin(): Promise<void> {
    this.#process = new ToldProcess(fork(join(import.meta.dirname, "cpu-agent.ts"), { stdio: "inherit" }));
    await this.#ask({ do: "open", paths: this.paths, image: this.#image });
  }

  kill(): Promise<void> {
    return this.#process.kill();
  }

  #ask(order: CpuOrder): Promise<CpuReply> {
    return this.#process.ask(order);
  }

  async #pids(order: CpuOrder): Promise<Readonly<Record<InstanceId, number>>> {
    const reply = await this.#ask(order);
    return "pids" in reply ? reply.pids : {};
  }

  /** Answers the number of its first process. Rejects with the reason of a start that fails. */
  async start(assignment: Assignment, { monitor = false } = {}): Promise<number> {
    return (await this.#pids({ do: "start", assignment, monitor }))[assignment.instanceId] ?? 0;
  }

  /** Answers what lives, by the numbers of its first processes. */
  adopt(): Promise<Readonly<Record<InstanceId, number>>> {
    return this.#pids({ do: "adopt" });
  }

  async end({ instanceId }: Assignment): Promise<void> {
    await this.#ask({ do: "end", instanceId });
  }

  async heard({ instanceId }: Assignment): Promise<readonly (readonly number[])[]> {
    const reply = await this.#ask({ do: "heard", instanceId });
    return "heard" in reply ? reply.heard : [];
  }

  /** What was broken at any moment since it began. Rejects when nothing was looked at. */
  async violations(): Promise<readonly string[]> {
    const reply = await this.#ask({ do: "contracts" });
    if (!("checks" in reply) || reply.checks === 0) throw new Error("no contract was checked");
    return reply.violations;
  }

  /** Ends what lives. */
  async clear(): Promise<void> {
    for (const instanceId of Object.keys(await this.adopt()) as InstanceId[])
      await this.#ask({ do: "end", instanceId });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.clear();
    await this.kill();
    await removeCgroupParents(await openCgroupParents(this.paths.cgroups));
  }
}
