// CPUs of a machine and of containers beside it, on a host with both agents.
import { readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import type { Assignment } from "@bulkhead/contracts";
import { parseCpuList, usableCpus } from "@bulkhead/host";
import { busyboxImage } from "@bulkhead/testkit/images";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { engine, sharedParts } from "./testing/machine-rig.ts";
import { MixedHost } from "./testing/mixed-host.ts";

const shared = await sharedParts(await busyboxImage());
const online = usableCpus();
const own = online[0] ?? 0;
const rest = online.slice(1);
let host: MixedHost;

vi.setConfig({ testTimeout: 300_000 });

beforeAll(async () => {
  host = await MixedHost.open(shared);
}, 120_000);
afterAll(async () => {
  await host[Symbol.asyncDispose]();
  await rm(shared.directory, { recursive: true, force: true });
}, 120_000);

/** CPUs that any of an instance's processes may run on. */
const cpusOf = async (assignment: Assignment): Promise<number[]> => {
  const cpus = (await host.processesOf(assignment)).flatMap((pid) => {
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    return parseCpuList(/^Cpus_allowed_list:\s*(.*)$/m.exec(status)?.[1] ?? "");
  });
  return [...new Set(cpus)].toSorted((a, b) => a - b);
};

test.runIf(online.length > 1)(
  "a machine's CPUs are no container's until it has ended, and no second one's",
  async () => {
    const held = { held: true, violations: [] };
    const container = await host.start("container", null);
    expect(await cpusOf(container)).toEqual(online);

    const dedicated = { resources: { cpuMillis: 1000, cpuPolicy: "dedicated", memoryBytes: 160 * 2 ** 20 } } as const;
    const machine = await host.begin({ ...host.assignment("vm", null, dedicated), cpuIds: [own] });
    expect(await cpusOf(container)).toEqual(rest);
    // Our own monitor keeps only its processors there, and has its other threads beside the container.
    expect(await cpusOf(machine)).toEqual(engine.holdsPlaces ? online : [own]);
    const second = host.begin({ ...host.assignment("container", null, dedicated), cpuIds: [own] });
    await expect(second).rejects.toThrow("ResourceExhausted");
    expect([await host.contract(container), await host.contract(machine)]).toEqual([held, held]);

    await host.killAgents();
    await host.startAgents();
    await host.adopt();
    expect(await cpusOf(container)).toEqual(rest);
    expect([await host.contract(container), await host.contract(machine)]).toEqual([held, held]);
    await host.end(machine);
    await expect.poll(() => cpusOf(container), { timeout: 30_000 }).toEqual(online);
    expect(await host.contract(container)).toEqual(held);
  },
);
