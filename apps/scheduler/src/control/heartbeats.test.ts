import { fleetError, type Heartbeat, type LeaseGrant } from "@bulkhead/contracts";
import type { AgentNews, DocumentHead } from "@bulkhead/inventory";
import { describe, expect, test } from "vitest";
import { Documents } from "./documents.ts";
import { Era } from "./era.ts";
import { Heartbeats } from "./heartbeats.ts";
import { HostWatch } from "./host-watch.ts";
import { defaultTimes, type ControlPorts } from "./ports.ts";
import { memoryLog } from "./testing/memory-log.ts";

const clusterId = "018f0000-0000-7000-8000-000000000000";
const refused = Object.assign(new Error("integer out of range"), { code: "22003" });
const run = { instanceId: "i", name: "i", epoch: { era: 1, n: 1 } };

type Failures = Readonly<Partial<Record<"write" | "explain" | "catchUp" | "document", string>>>;

/** Ten hosts and a database that fails in one way for one of them. */
const leader = (failures: Failures, failure: Error = refused) => {
  const granted: string[] = [];
  const written = new Set<string>();
  const log = memoryLog();
  const failFor = (what: keyof Failures, hostId: string) => {
    if (failures[what] === hostId) throw failure;
  };
  const store = {
    readHeads: async (agents: readonly Heartbeat[]): Promise<DocumentHead[]> =>
      agents.map(({ hostId, isolation }) => ({ hostId, isolation, clusterId, era: 1, version: 5 })),
    recordAgents: async (_term: number, news: readonly AgentNews[]) => {
      for (const { hostId } of news) failFor("write", hostId);
      for (const { hostId } of news) written.add(hostId);
    },
    adoptRuns: async (_term: number, { hostId }: AgentNews) => {
      failFor("explain", hostId);
      return { adopted: 0, ended: 0 };
    },
    startEra: async ({ hostId }: AgentNews) => {
      failFor("catchUp", hostId);
      return 1;
    },
    liftVersion: async () => undefined,
    fetchDocument: async ({ hostId }: AgentNews) => {
      failFor("document", hostId);
      return { kind: "unknown-host" };
    },
  };
  const bus = {
    publish: (_subject: unknown, { hostId }: { hostId: string }, { granted: given }: LeaseGrant) => {
      if (given) granted.push(hostId);
    },
  };
  const ports = { store, bus, log, nowMs: () => 0 } as unknown as ControlPorts;
  const term = { term: 1, clusterId, valid: () => true, startedAtMs: 0 };
  const era = new Era({ ports, term, era: 1, onChange: () => undefined });
  const heartbeats = new Heartbeats({
    ports,
    times: defaultTimes,
    term,
    era,
    watch: new HostWatch(defaultTimes, 0, []),
    documents: new Documents(ports, era),
    onChange: () => undefined,
  });
  const beat = () => {
    for (const hostId of hosts) {
      const position = { clusterId, era: 1, version: hostId === failures.catchUp ? 9 : 5 };
      const base = { hostId, isolation: "vm", bootId: "b", sentAtBoottimeNs: "1", position, digest: "d" };
      heartbeats.receive({ ...base, facts: {}, instances: 1, unknown: [run], highestEra: 1 } as unknown as Heartbeat);
    }
    return heartbeats.pass();
  };
  return { beat, granted, written, log };
};

const hosts = Array.from({ length: 10 }, (_, at) => `host-${at}`);
const others = hosts.filter((hostId) => hostId !== "host-3");

describe("a host whose heartbeat cannot be taken", () => {
  test.each(["write", "catchUp", "document"] as const)("takes no other's lease (%s)", async (what) => {
    const { beat, granted, log } = leader({ [what]: "host-3" });
    await beat();
    await beat();
    expect(granted).toEqual([...others, ...others]);
    // Said once, not with each heartbeat.
    expect(log.lines.map(({ message, fields }) => [message, fields["hostId"]])).toEqual([
      ["heartbeat not taken", "host-3"],
    ]);
  });

  test("is told again when it could be taken in between", async () => {
    const failures: Record<string, string> = { write: "host-3" };
    const { beat, granted, written, log } = leader(failures);
    await beat();
    expect([...written].toSorted()).toEqual(others);
    failures["write"] = "nobody";
    await beat();
    expect(granted).toEqual([...others, ...hosts]);
    expect(written.size).toBe(10);
    failures["document"] = "host-3";
    await beat();
    expect(log.lines).toHaveLength(2);
  });

  test("keeps its own lease when only its runs cannot be explained", async () => {
    const { beat, granted } = leader({ explain: "host-3" });
    await beat();
    expect(granted).toEqual(hosts);
  });

  test("a lost database is nobody's fault: the pass is to be run again", async () => {
    const { beat, granted } = leader({ write: "host-3" }, fleetError("DATABASE_UNAVAILABLE", "gone"));
    await expect(beat()).rejects.toThrow("gone");
    expect(granted).toEqual([]);
  });
});
