import type { Heartbeat, HostFacts, HostId, Isolation } from "@bulkhead/contracts";
import type { Clock } from "./clock.ts";
import type { DesiredStore } from "./desired-store.ts";
import type { InstanceSet } from "./instance-set.ts";
import type { Ledger } from "./ledger.ts";

/** Largest number of unknown instances named in one heartbeat (contracts/agent.ts). */
const unknownLimit = 1_000;
/** Largest number of problems named in one heartbeat; the log has them all. */
const problemLimit = 50;

/** What the agent says of itself every few seconds. */
export const heartbeatOf = (parts: {
  hostId: HostId;
  isolation: Isolation;
  bootId: string;
  clock: Clock;
  store: DesiredStore;
  ledger: Ledger;
  instances: InstanceSet;
  facts: HostFacts;
  problems: readonly string[];
}): Heartbeat => {
  const { store, instances, facts } = parts;
  const position = store.position;
  return {
    hostId: parts.hostId,
    isolation: parts.isolation,
    bootId: parts.bootId,
    sentAtBoottimeNs: parts.clock.boottimeNs().toString(),
    position,
    digest: store.digest,
    facts: { ...facts, problems: [...facts.problems, ...parts.problems].slice(0, problemLimit) },
    instances: instances.living,
    unknown: instances.unknown.slice(0, unknownLimit),
    highestEra: Math.max(position?.era ?? 0, parts.ledger.highestEra, instances.highestEra),
  };
};
