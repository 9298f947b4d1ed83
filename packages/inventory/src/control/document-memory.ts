import { documentDigest, type Assignment, type Tombstone } from "@bulkhead/contracts";

/** What of an assignment decides its document's digest. */
export interface Entry {
  readonly instanceId: string;
  readonly era: number;
  readonly n: number;
  readonly tombstone: boolean;
  readonly graceMs: number;
  readonly generation: number;
  readonly desired: string;
  readonly restartRequest: number;
}

/** A document as it was last read, without its specifications: enough to know its digest after the next change. */
export interface DocumentMemory {
  readonly era: number;
  readonly version: number;
  readonly digest: string;
  readonly entries: ReadonlyMap<string, Entry>;
}

const keyOf = ({ instanceId, era, n }: Entry): string => `${instanceId} ${era}.${n}`;

const identityOf = (entry: Entry): Assignment =>
  ({
    instanceId: entry.instanceId,
    epoch: { era: entry.era, n: entry.n },
    generation: entry.generation,
    desired: entry.desired,
    restartRequest: entry.restartRequest,
  }) as Assignment;

/** The order to end that a buried assignment is. */
export const tombstoneOf = ({
  instanceId,
  era,
  n,
  graceMs,
}: Pick<Entry, "instanceId" | "era" | "n" | "graceMs">): Tombstone =>
  ({ instanceId, epoch: { era, n }, graceMs }) as Tombstone;

/** What a document is after the changes since it was last read; all of it without a `memory`. */
export const remember = (
  { era, version, changes }: { readonly era: number; readonly version: number; readonly changes: readonly Entry[] },
  memory: DocumentMemory | undefined,
): DocumentMemory => {
  if (memory?.era === era && memory.version === version) return memory;
  const entries = new Map<string, Entry>(memory?.entries);
  for (const entry of changes) entries.set(keyOf(entry), entry);
  const all = [...entries.values()];
  const live = all.filter((entry) => !entry.tombstone).map(identityOf);
  const buried = all.filter((entry) => entry.tombstone).map(tombstoneOf);
  return { era, version, digest: documentDigest(live, buried), entries };
};
