import { Agent, type AgentOptions, type Log } from "@bulkhead/node";
import { clusterId, hostId } from "./builders.ts";
import { FakeClock, settle } from "./fake-clock.ts";
import { FakeControlPlane } from "./fake-control-plane.ts";
import { FakeRuntime } from "./fake-runtime.ts";
import { MemoryLeasePage, MemoryStorage } from "./memory-storage.ts";
import { Mortal } from "./mortal.ts";

/** What was logged, for tests that ask. */
export class MemoryLog implements Log {
  readonly lines: { level: string; fields: object; message: string }[] = [];

  debug(fields: object, message: string): void {
    this.lines.push({ level: "debug", fields, message });
  }

  info(fields: object, message: string): void {
    this.lines.push({ level: "info", fields, message });
  }

  warn(fields: object, message: string): void {
    this.lines.push({ level: "warn", fields, message });
  }

  error(fields: object, message: string): void {
    this.lines.push({ level: "error", fields, message });
  }
}

/** A host in memory: disk, kernel and control plane stay while its agents come, die and go. */
export class FakeHost {
  readonly clock = new FakeClock();
  readonly storage = new MemoryStorage();
  readonly control = new FakeControlPlane();
  readonly page = new MemoryLeasePage();
  readonly log = new MemoryLog();
  runtime = new FakeRuntime({ clock: this.clock });
  #process = new Mortal(Number.POSITIVE_INFINITY);
  #journals = 0;

  /** Options of an agent on this host, as the given process sees the outside. */
  options(process: Mortal, over: Partial<AgentOptions> = {}): AgentOptions {
    return {
      hostId,
      hostName: "host-1",
      clusterId,
      bootId: "boot-1",
      runtime: process.wrap(this.runtime),
      controlPlane: process.wrap(this.control),
      clock: process.wrap(this.clock),
      storage: process.wrap(this.storage),
      leasePage: this.page,
      log: this.log,
      newId: () => `journal-${(this.#journals += 1)}`,
      hostUsage: () => ({ cpuBusyNs: 1, cpuStealNs: 0, memoryUsedBytes: 2, memoryTotalBytes: 3 }),
      ...over,
    };
  }

  /** Starts an agent and lets it come to rest. */
  async start(over: Partial<AgentOptions> = {}): Promise<Agent> {
    this.#process = new Mortal(Number.POSITIVE_INFINITY);
    const starting = Agent.start(this.options(this.#process, over));
    await settle();
    // It waits for the first document when nobody answers.
    await this.clock.advance(this.control.reachable ? 0 : 2_000);
    const agent = await starting;
    await settle();
    return agent;
  }

  /** kill -9: nothing that the agent does from now on has an effect. */
  kill(): void {
    this.#process.kill();
    this.runtime = this.runtime.successor();
  }

  /** The kernel starts anew: what ran has ended, tmpfs is empty. */
  reboot(): void {
    this.kill();
    for (const run of this.runtime.runs) run.end({ reason: "HostRebooted" });
    this.page.state = { renewedAtNs: 0n, term: 0n };
  }
}
