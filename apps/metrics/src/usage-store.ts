import type { HostId, Isolation, UsageBatch, UsageSample } from "@bulkhead/contracts";
import { HostUsage } from "./host-usage.ts";
import { InstanceUsage, isPlausible } from "./instance-usage.ts";
import { windowMs } from "./usage-window.ts";

export interface StoreOptions {
  /** agents' pace, in milliseconds */
  readonly intervalMs: number;
  /** instances kept in all; more are refused, so that memory and scrapes stay bounded */
  readonly instancesMax: number;
  readonly hostsMax: number;
  readonly nowMs: () => number;
}

/** Instances one agent may report; a host that invents more crowds out nobody else's. */
const instancesPerAgentMax = 4_096;

/** Current usage of the fleet and its last ten minutes, from what agents publish. Nothing is kept on disk. */
export class UsageStore {
  readonly #options: StoreOptions;
  readonly #instances = new Map<string, InstanceUsage>();
  readonly #hosts = new Map<HostId, HostUsage>();
  #refused = 0;

  constructor(options: StoreOptions) {
    this.#options = options;
  }

  /** Samples not taken: implausible, or beyond a limit. */
  get refused(): number {
    return this.#refused;
  }

  /** Longest silence of something that still counts as there, in milliseconds: three samples were missed. */
  get freshMs(): number {
    return 3.5 * this.#options.intervalMs;
  }

  /** Takes over one message of one agent. */
  add(batch: UsageBatch): void {
    const nowMs = this.#options.nowMs();
    const { hostId, isolation } = batch;
    const host = this.#hostOf(batch);
    if (host === undefined) {
      this.#refused += batch.instances.length;
      return;
    }
    host.update(isolation, batch.host, { nowMs, freshMs: this.freshMs });
    this.#refused += Math.max(0, batch.instances.length - instancesPerAgentMax);
    for (const sample of batch.instances.slice(0, instancesPerAgentMax)) {
      const instance = isPlausible(sample) ? this.#instanceOf(hostId, isolation, sample) : undefined;
      if (instance === undefined) this.#refused += 1;
      else instance.update(sample, nowMs);
    }
  }

  /** Forgets what has been silent for the whole window. */
  expire(): void {
    const oldest = this.#options.nowMs() - windowMs;
    for (const [key, { seenAtMs }] of this.#instances) if (seenAtMs < oldest) this.#instances.delete(key);
    for (const [hostId, { seenAtMs }] of this.#hosts) if (seenAtMs < oldest) this.#hosts.delete(hostId);
  }

  /** Hosts that are heard. */
  hosts(): HostUsage[] {
    const since = this.#options.nowMs() - this.freshMs;
    return [...this.#hosts.values()].filter(({ seenAtMs }) => seenAtMs >= since);
  }

  /** Instances that are reported, with their host. */
  current(): { instance: InstanceUsage; hostName: string }[] {
    const since = this.#options.nowMs() - this.freshMs;
    return this.recent().filter(({ instance }) => instance.seenAtMs >= since);
  }

  /** Instances of the last ten minutes, gone ones included. */
  recent(): { instance: InstanceUsage; hostName: string }[] {
    return [...this.#instances.values()].map((instance) => ({
      instance,
      hostName: this.#hosts.get(instance.hostId)?.name ?? instance.hostId,
    }));
  }

  #instanceOf(hostId: HostId, isolation: Isolation, sample: UsageSample): InstanceUsage | undefined {
    const key = `${hostId} ${isolation} ${sample.instanceId}`;
    const known = this.#instances.get(key);
    if (known !== undefined) return known;
    if (this.#instances.size >= this.#options.instancesMax) return undefined;
    const made = new InstanceUsage(hostId, isolation, sample);
    this.#instances.set(key, made);
    return made;
  }

  #hostOf({ hostId, hostName, isolation }: UsageBatch): HostUsage | undefined {
    const known = this.#hosts.get(hostId);
    if (known?.claimedName === hostName) return known;
    if (known === undefined && this.#hosts.size >= this.#options.hostsMax) return undefined;
    const host = known ?? new HostUsage(hostName, isolation);
    // A host says itself what it is called; it must not speak in another one's name.
    const taken = [...this.#hosts.values()].some((other) => other !== host && other.name === hostName);
    host.claimedName = hostName;
    host.name = taken ? `${hostName}-${hostId.slice(-8)}` : hostName;
    this.#hosts.set(hostId, host);
    return host;
  }
}
