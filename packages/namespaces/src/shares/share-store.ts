import { readdirSync } from "node:fs";
import { chmod, chown, mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fleetError, type AssignedNamespaces, type AssignedShare, type InstanceId } from "@bulkhead/contracts";
import { openMountArea, type HostPaths } from "@bulkhead/host";
import { lockFile, type SourceDirectory } from "@bulkhead/native-namespaces";
import type { Trash } from "../trash.ts";
import { makeImage, mountImage, mountMemory, unmount } from "./file-systems.ts";
import type { HeldNamespaces, NamespaceHolders } from "./namespace-holder.ts";

/** Namespaces that an instance is about to enter. */
export interface JoinedNamespaces extends HeldNamespaces {
  /** what stands on /dev/shm; null without a shared IPC namespace, for then each has its own */
  readonly memory: SourceDirectory | null;
}

const memoryOfNamespaces = {
  kind: "shared-memory",
  owner: { uid: 0, gid: 0 },
  mode: "1777",
  lifetime: "transient",
} as const;

type SharePaths = Pick<HostPaths, "shares" | "runShares" | "shareLock">;

type Made = Pick<AssignedShare, "shareId" | "kind" | "sizeBytes" | "owner" | "mode" | "lifetime">;

const isNotFound = (error: unknown): boolean => error instanceof Error && "code" in error && error.code === "ENOENT";

/** What a share is: memory, a plain directory, or a file system in an image because it has a size. */
const backingOf = ({ kind, sizeBytes }: Pick<Made, "kind" | "sizeBytes">): "memory" | "plain" | "image" =>
  kind !== "directory" ? "memory" : sizeBytes === undefined ? "plain" : "image";

/**
 * The shares of one host. `$STATE/shares/ID` holds what a share is (`share.json`), who uses it (`users/INSTANCE`) and,
 * for directories, its data; memory and images are mounted at `$RUN/shares/ID/data`. Namespaces are held by a process. All
 * of it outlives the agent.
 */
export class ShareStore {
  readonly #paths: SharePaths;
  readonly #trash: Trash;
  readonly namespaces: NamespaceHolders;
  /** one change at a time: here first, so that at most one thread of the pool ever waits for the other agent */
  #work: Promise<unknown> = Promise.resolve();

  constructor(paths: SharePaths, namespaces: NamespaceHolders, trash: Trash) {
    this.#paths = paths;
    this.namespaces = namespaces;
    this.#trash = trash;
  }

  #root(shareId: string): string {
    return join(this.#paths.shares, shareId);
  }

  #alone<Value>(work: () => Promise<Value>): Promise<Value> {
    const next = this.#work.then(async () => {
      using _lock = await lockFile(this.#paths.shareLock);
      return await work();
    });
    this.#work = next.catch(() => undefined);
    return next;
  }

  /** Where a share's data lies, whether it is there now or not. */
  sourceOf(share: Pick<Made, "shareId" | "kind" | "sizeBytes">): SourceDirectory {
    const beneath = backingOf(share) === "plain" ? this.#paths.shares : this.#paths.runShares;
    return { beneath, source: `${share.shareId}/data` };
  }

  /** The same as one path. */
  directoryOf(share: Parameters<ShareStore["sourceOf"]>[0]): string {
    const { beneath, source } = this.sourceOf(share);
    return join(beneath, source);
  }

  /**
   * Makes a share ready and notes its user, before anything of it is shown. Rejects what the file system says, with
   * nothing half made that a next call would take for whole.
   */
  async use(share: Made, instanceId: InstanceId): Promise<SourceDirectory> {
    return this.#alone(async () => {
      const { shareId, kind, sizeBytes, owner, mode, lifetime } = share;
      const description = { shareId, kind, ...(sizeBytes === undefined ? {} : { sizeBytes }), owner, mode, lifetime };
      await this.#note(shareId, instanceId);
      const known = await readFile(join(this.#root(shareId), "share.json"), "utf8").catch(() => null);
      await this.#ready(share, known === null);
      if (known === null) await this.#describe(shareId, description);
      return this.sourceOf(share);
    });
  }

  async #note(shareId: string, instanceId: InstanceId): Promise<void> {
    await mkdir(join(this.#root(shareId), "users"), { recursive: true, mode: 0o700 });
    await writeFile(join(this.#root(shareId), "users", instanceId), "");
  }

  async #describe(shareId: string, description: object): Promise<void> {
    const path = join(this.#root(shareId), "share.json");
    await writeFile(`${path}.new`, JSON.stringify(description), { mode: 0o600 });
    await rename(`${path}.new`, path);
  }

  /** Makes namespaces ready and notes who will be in them, and with IPC the memory that comes with it. */
  async join(share: AssignedNamespaces, instanceId: InstanceId): Promise<JoinedNamespaces> {
    return this.#alone(async () => {
      const { shareId, namespaces, sizeBytes } = share;
      await this.#note(shareId, instanceId);
      await this.#describe(shareId, { shareId, kind: "namespace", namespaces, lifetime: "transient" });
      const held = await this.namespaces.ensure(share);
      if (!namespaces.includes("ipc")) return { ...held, memory: null };
      const memory = { ...memoryOfNamespaces, shareId, ...(sizeBytes === undefined ? {} : { sizeBytes }) };
      await this.#ready(memory, false);
      return { ...held, memory: this.sourceOf(memory) };
    });
  }

  async #ready(share: Made, fresh: boolean): Promise<void> {
    const data = this.directoryOf(share);
    const backing = backingOf(share);
    if (backing !== "plain") await openMountArea(this.#paths.runShares);
    if (backing === "memory") {
      const sizeBytes = share.kind === "socket-directory" ? null : (share.sizeBytes ?? null);
      await mountMemory({ path: data, sizeBytes, mode: share.mode });
      // Made anew after each boot, so it is given its owner each time; its users may have changed nothing of the root.
      await chown(data, share.owner.uid, share.owner.gid);
      return;
    }
    if (backing === "image") {
      const image = join(this.#root(share.shareId), "image");
      await makeImage(image, share.sizeBytes ?? 0);
      await mountImage(image, data);
      if (fresh) await rm(join(data, "lost+found"), { recursive: true, force: true });
    } else await mkdir(data, { recursive: true, mode: 0o700 });
    if (!fresh) return;
    await chown(data, share.owner.uid, share.owner.gid);
    await chmod(data, Number.parseInt(share.mode, 8));
  }

  /** The instance does not use it any more; a transient share goes with its last user. */
  async leave(shareId: string, instanceId: InstanceId): Promise<void> {
    await this.#alone(async () => {
      await rm(join(this.#root(shareId), "users", instanceId), { force: true });
      if ((await this.#users(shareId)).length > 0) return;
      const share = await this.#read(shareId);
      if (share === null || share.lifetime === "transient") await this.#remove(shareId);
    });
  }

  /** Everything that one instance used is left. */
  async leaveAll(instanceId: InstanceId): Promise<void> {
    for (const shareId of this.#all()) {
      if ((await this.#users(shareId)).includes(instanceId)) await this.leave(shareId, instanceId);
    }
  }

  /** Removes a share for ever. Rejects SHARE_IN_USE; one that is not there is fine. */
  async remove(shareId: string): Promise<void> {
    await this.#alone(async () => {
      const users = await this.#users(shareId);
      if (users.length > 0) {
        throw fleetError("SHARE_IN_USE", `On this host instances ${users.join(", ")} use it.`);
      }
      await this.#remove(shareId);
    });
  }

  /** Users whose instance has no directory on this host: an agent was killed while it started or removed them. */
  async forgetAbsent(isPresent: (instanceId: InstanceId) => boolean): Promise<void> {
    for (const shareId of this.#all()) {
      for (const user of await this.#users(shareId)) if (!isPresent(user)) await this.leave(shareId, user);
    }
  }

  /** Ids of the shares whose files are on this host's disk. */
  async known(): Promise<Set<string>> {
    return new Set(this.#all());
  }

  async #remove(shareId: string): Promise<void> {
    const mounted = join(this.#paths.runShares, shareId, "data");
    await this.namespaces.end(shareId);
    await unmount(mounted);
    // Members' files are put into the trash after this, so their ids are free when everything in it is gone.
    this.#trash.put(this.#root(shareId), {
      afterwards: () => void this.#trash.settled().then(() => this.namespaces.free(shareId)),
    });
  }

  /** At once: every removal of an instance asks, and a turn through the thread pool costs several times that. */
  #all(): string[] {
    try {
      return readdirSync(this.#paths.shares);
    } catch (error) {
      if (isNotFound(error)) return [];
      throw error;
    }
  }

  async #users(shareId: string): Promise<InstanceId[]> {
    return readdir(join(this.#root(shareId), "users")).catch((error: unknown) => {
      if (isNotFound(error)) return [];
      throw error;
    }) as Promise<InstanceId[]>;
  }

  async #read(shareId: string): Promise<Made | null> {
    try {
      return JSON.parse(await readFile(join(this.#root(shareId), "share.json"), "utf8")) as Made;
    } catch (error) {
      if (isNotFound(error) || error instanceof SyntaxError) return null;
      throw error;
    }
  }
}
