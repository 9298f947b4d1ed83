import { type Digest, fleetError } from "@bulkhead/contracts";
import type { ImageRecords } from "./image-records.ts";
import type { LayerDirectories } from "./layer-directories.ts";
import type { Mutex } from "./mutex.ts";

export interface Collected {
  readonly manifests: readonly Digest[];
  /** diff ids */
  readonly layers: readonly Digest[];
}

interface Store {
  readonly records: ImageRecords;
  readonly directories: LayerDirectories;
  /** manifests and diff ids that running work relies on */
  readonly isPinned: (digest: Digest) => boolean;
  readonly lock: Mutex;
}

interface Marks {
  readonly diffIds: Set<Digest>;
  readonly configs: Set<Digest>;
  readonly goingManifests: Digest[];
}

const mark = async (store: Store, inUse: ReadonlySet<Digest>, beforeMs: number): Promise<Marks> => {
  const marks: Marks = { diffIds: new Set(), configs: new Set(), goingManifests: [] };
  for (const { digest, usedMs } of await store.records.list("manifests")) {
    const used = inUse.has(digest);
    if (!used && usedMs < beforeMs) {
      marks.goingManifests.push(digest);
      continue;
    }
    const record = await store.records.load(digest).catch((cause: unknown) => {
      if (used) throw fleetError("RUNTIME_FAILED", `the image ${digest} is in use and cannot be read`, { cause });
      return undefined;
    });
    if (record === undefined) {
      // Running work that was interrupted by an earlier collection writes it again (ImageRecords.keep).
      if (used && !store.isPinned(digest))
        throw fleetError("RUNTIME_FAILED", `the image ${digest} is in use and damaged; nothing was removed`);
      continue;
    }
    marks.configs.add(record.manifest.config.digest);
    for (const diffId of record.parsed.diffIds) marks.diffIds.add(diffId);
  }
  return marks;
};

/** Mark, then sweep what was last used before `beforeMs`. */
export const collect = async (store: Store, inUse: ReadonlySet<Digest>, beforeMs: number): Promise<Collected> => {
  const marks = await mark(store, inUse, beforeMs);
  const removed: Digest[] = [];
  const remove = (kind: "manifests" | "configs", digest: Digest) =>
    store.lock.run(async () => !store.isPinned(digest) && store.records.remove(kind, digest, beforeMs));
  for (const digest of marks.goingManifests) if (await remove("manifests", digest)) removed.push(digest);
  for (const { digest } of await store.records.list("configs")) {
    if (!marks.configs.has(digest)) await remove("configs", digest);
  }
  const layers: Digest[] = [];
  for (const { diffId, usedMs } of await store.directories.list()) {
    if (marks.diffIds.has(diffId) || usedMs >= beforeMs) continue;
    const work = await store.lock.run(async () =>
      store.isPinned(diffId) ? undefined : store.directories.withdraw(diffId, beforeMs),
    );
    if (work === undefined) continue;
    // Emptying takes long and needs no lock: the layer has no name any more.
    await store.directories.discard(work);
    layers.push(diffId);
  }
  return { manifests: removed, layers };
};
