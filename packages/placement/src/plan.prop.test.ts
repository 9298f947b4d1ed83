import type { Capacity } from "@bulkhead/contracts";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { costOf, engineFor } from "./cost.ts";
import { insufficient, unsuitable } from "./filter.ts";
import { agentOf, type FleetHost, type FleetSnapshot } from "./fleet.ts";
import { plan, type Demand, type PlacementRequest } from "./index.ts";
import { Ledger } from "./room.ts";
import { score, scarcityOf } from "./score.ts";

const capacity: fc.Arbitrary<Capacity> = fc
  .record({
    cpuCount: fc.integer({ min: 1, max: 16 }),
    memoryBytes: fc.integer({ min: 1, max: 4000 }),
    instancesMax: fc.integer({ min: 0, max: 20 }),
  })
  .map((facts) => ({ ...facts, cpuMillis: facts.cpuCount * 1000 }));

/** Two kinds of hosts, so that neighbours cost a machine differently. */
const engines = fc.constantFrom(
  [{ name: "kvm", overheadBytes: 7, overheadBytesPerMib: 0, emulatorMillis: 100 } as const],
  [{ name: "qemu", overheadBytes: 300, overheadBytesPerMib: 0, emulatorMillis: 250 } as const],
);

const isolation = fc.constantFrom("container", "vm");

const hostOf = (id: number): fc.Arbitrary<FleetHost> =>
  fc
    .record({
      capacity,
      cordoned: fc.boolean(),
      state: fc.constantFrom("ready", "suspect", "unknown"),
      zone: fc.constantFrom("east", "west"),
      engines,
      heldCpu: fc.integer({ min: 0, max: 8000 }),
      heldMemory: fc.integer({ min: 0, max: 2000 }),
      heldIds: fc.uniqueArray(fc.integer({ min: 0, max: 15 }), { maxLength: 6 }),
    })
    .map((found) => ({
      id: `h${String(id).padStart(3, "0")}`,
      name: `host-${id}`,
      version: id,
      cordoned: found.cordoned,
      labels: { zone: found.zone },
      agents: (["container", "vm"] as const).map((kind) => ({
        isolation: kind,
        state: found.state,
        capacity: found.capacity,
        enforceable: ["resources"],
        mountAllowList: [],
        foreign: false,
        ...(kind === "vm" ? { engines: found.engines } : {}),
      })),
      held: {
        cpuMillis: Math.min(found.heldCpu, found.capacity.cpuMillis),
        memoryBytes: Math.min(found.heldMemory, found.capacity.memoryBytes),
        instances: 0,
        cpuIds: found.heldIds.filter((cpu) => cpu < found.capacity.cpuCount),
      },
    }));

const fleet: fc.Arbitrary<FleetSnapshot> = fc
  .integer({ min: 0, max: 12 })
  .chain((count) => fc.tuple(...Array.from({ length: count }, (_, id) => hostOf(id))))
  .map((hosts) => ({ hosts }));

const demand: fc.Arbitrary<Demand> = fc
  .record({
    isolation,
    cpus: fc.integer({ min: 10, max: 4000 }),
    memoryBytes: fc.integer({ min: 1, max: 1500 }),
    dedicated: fc.boolean(),
    zone: fc.option(fc.constantFrom("east", "west")),
  })
  .map((found) => {
    const dedicatedCpus = found.dedicated ? Math.ceil(found.cpus / 1000) : 0;
    return {
      isolation: found.isolation,
      cpuMillis: Math.max(found.cpus, dedicatedCpus * 1000),
      memoryBytes: found.memoryBytes,
      dedicatedCpus,
      hostLabels: found.zone === null ? {} : { zone: found.zone },
      fields: ["resources.cpuMillis"],
      mountPaths: [],
      shares: [],
    };
  });

const requests: fc.Arbitrary<PlacementRequest[]> = fc
  .array(demand, { maxLength: 40 })
  .map((demands) => demands.map((wanted, at) => ({ instanceId: `i${at}`, demand: wanted })));

test("never gives away more than a host has, nor one CPU twice", () => {
  fc.assert(
    fc.property(fleet, requests, (snapshot, wanted) => {
      const { placements, unplaced } = plan(snapshot, wanted);
      expect(placements.length + unplaced.length).toBe(wanted.length);
      for (const host of snapshot.hosts) {
        const here = placements.filter((placement) => placement.hostId === host.id);
        const limit = host.agents[0]?.capacity;
        if (limit === undefined || here.length === 0) continue;
        const sum = (key: "cpuMillis" | "memoryBytes") =>
          here.reduce((total, placement) => total + placement[key], host.held[key]);
        expect(sum("cpuMillis")).toBeLessThanOrEqual(limit.cpuMillis);
        expect(sum("memoryBytes")).toBeLessThanOrEqual(limit.memoryBytes);
        expect(here.length).toBeLessThanOrEqual(limit.instancesMax);
        const ids = [...host.held.cpuIds, ...here.flatMap((placement) => placement.cpuIds)];
        expect(new Set(ids).size).toBe(ids.length);
        expect(ids.every((id) => id >= 0 && id < limit.cpuCount)).toBe(true);
        const dedicates = here.some((placement) => placement.cpuIds.length > 0);
        expect(!dedicates || ids.length < limit.cpuCount).toBe(true);
      }
    }),
  );
});

test("only ready hosts that match, never a cordoned one", () => {
  fc.assert(
    fc.property(fleet, requests, (snapshot, wanted) => {
      for (const { instanceId, hostId } of plan(snapshot, wanted).placements) {
        const host = snapshot.hosts.find((found) => found.id === hostId);
        const request = wanted.find((found) => found.instanceId === instanceId);
        expect(host?.cordoned).toBe(false);
        expect(host?.agents[0]?.state).toBe("ready");
        expect(host?.labels).toMatchObject(request?.demand.hostLabels ?? {});
      }
    }),
  );
});

test("equal input gives an equal plan, whatever the order of the hosts", () => {
  fc.assert(
    fc.property(fleet, requests, (snapshot, wanted) => {
      const turned = { hosts: snapshot.hosts.toReversed() };
      expect(plan(turned, wanted)).toEqual(plan(snapshot, wanted));
      expect(plan(snapshot, wanted)).toEqual(plan(structuredClone(snapshot), structuredClone(wanted)));
    }),
  );
});

test("oracle: every choice has the best score of a scan over all hosts, and a refusal means that none fits", () => {
  fc.assert(
    fc.property(fleet, requests, (snapshot, wanted) => {
      const made = plan(snapshot, wanted);
      const ledgers = new Map(snapshot.hosts.map((host) => [host.id, new Ledger(host)]));
      for (const { instanceId, demand: needs } of wanted) {
        const scarcity = scarcityOf(snapshot, needs.isolation);
        const scores = [...ledgers.values()].flatMap((ledger) => {
          const agent = agentOf(ledger.host, needs.isolation);
          if (agent === undefined || unsuitable(ledger.host, needs) !== undefined) return [];
          const room = ledger.room(agent);
          const cost = costOf(needs, engineFor(agent, needs));
          if (insufficient(room, needs, cost) !== undefined) return [];
          const cpu = (room.cpuMillis - cost.cpuMillis) / agent.capacity.cpuMillis;
          const memory = (room.memoryBytes - cost.memoryBytes) / agent.capacity.memoryBytes;
          return [{ id: ledger.host.id, score: score(cpu, memory, scarcity) }];
        });
        const chosen = made.placements.find((placement) => placement.instanceId === instanceId);
        const best = Math.min(...scores.map((found) => found.score));
        const expected = scores
          .filter((found) => found.score === best)
          .map((found) => found.id)
          .sort()[0];
        expect(chosen?.hostId).toBe(expected);
        const ledger = ledgers.get(chosen?.hostId ?? "");
        const agent = ledger && agentOf(ledger.host, needs.isolation);
        if (ledger !== undefined && agent !== undefined) {
          ledger.take(agent, needs, costOf(needs, engineFor(agent, needs)));
        }
      }
    }),
  );
});

test("another host never makes a placeable request unplaceable", () => {
  fc.assert(
    fc.property(fleet, demand, hostOf(999), (snapshot, needs, more) => {
      const wanted = [{ instanceId: "i", demand: needs }];
      fc.pre(plan(snapshot, wanted).placements.length === 1);
      expect(plan({ hosts: [...snapshot.hosts, more] }, wanted).placements).toHaveLength(1);
    }),
  );
});
