import { join } from "node:path";
import type { AssignedShare, MachineChannel, ShareOutcome } from "@bulkhead/contracts";
import { settlesWithin, type JailedRun } from "@bulkhead/node";
import { DirectoryServers } from "./directory-servers.ts";
import { unmountInGuest, unmountMs } from "./guest/orders.ts";
import type { SharedChannel } from "./guest/shared-channel.ts";
import type { MachinePaths } from "./machine-paths.ts";
import { writeMachineRecord, type MachineRecord } from "./machine-record.ts";
import { sharedDirectories, sharedSockets, sharesInJail, type SharedDirectory } from "./shared-directories.ts";
import { GuestSockets } from "./sockets/guest-sockets.ts";
import { SocketDirectory } from "./sockets/socket-directory.ts";

export interface MachineSharingParts {
  readonly jailed: JailedRun;
  readonly paths: MachinePaths;
  readonly record: MachineRecord;
  /** of this host: where a share's files lie */
  readonly directoryOf: (share: AssignedShare) => string;
  readonly guest: Pick<SharedChannel, "use" | "talk">;
  /** A directory's server has ended by itself. */
  readonly lost: (directory: SharedDirectory) => void;
}

const failed = (shareId: string, detail: string): ShareOutcome => ({ shareId, state: "failed", busy: false, detail });

/** What a running machine sees of its host. It began with all of it, and it can be taken away. */
export class MachineSharing {
  readonly #parts: MachineSharingParts;
  readonly #detached: Set<string>;
  readonly #servers: DirectoryServers;
  readonly #sockets: GuestSockets | null;

  constructor(parts: MachineSharingParts) {
    const { jailed, paths, record, directoryOf, lost, guest } = parts;
    this.#parts = parts;
    this.#detached = new Set(record.detached);
    const isSeen = ({ path }: Pick<AssignedShare, "path">) => this.shares.some((share) => share.path === path);
    const { mounts = [] } = record.assignment.spec;
    const served = sharedDirectories(record.assignment).filter((each) => {
      return isSeen(each) || mounts.some(({ path }) => path === each.path);
    });
    this.#servers = new DirectoryServers(jailed, jailed.pid === null ? [] : served, lost);
    // The guest knows each by its place in the list that it began with.
    const places = sharedSockets(record.assignment).map((share) => {
      const { name, path, readOnly, shareId } = share;
      const notes = readOnly ? null : join(paths.run, `sockets-${shareId}.json`);
      return { name, path, directory: new SocketDirectory(directoryOf(share)), notes };
    });
    this.#sockets = places.length === 0 ? null : new GuestSockets(places, () => guest.use((channel) => channel));
    for (const share of sharedSockets(record.assignment)) if (!isSeen(share)) this.#sockets?.revoke(share.name);
    void this.#sockets?.carry();
  }

  /** Shares that it sees now. */
  get shares(): AssignedShare[] {
    const { shares = [] } = this.#parts.record.assignment;
    return shares.filter(({ shareId }) => !this.#detached.has(shareId));
  }

  /** Why its sockets are not carried now; null: they are. */
  get problem(): string | null {
    return this.#sockets?.problem ?? null;
  }

  get channels(): MachineChannel[] {
    return this.#sockets?.channels ?? [];
  }

  /** Takes away what is not wanted; an outcome for every share concerned. */
  async reshare(wanted: readonly AssignedShare[]): Promise<ShareOutcome[]> {
    const seen = this.shares;
    const outcomes: ShareOutcome[] = [];
    for (const share of seen) {
      const { shareId, path, readOnly } = share;
      const same = wanted.find((each) => each.shareId === shareId);
      if (same === undefined) outcomes.push(await this.#detach(share));
      else if (same.path === path && same.readOnly === readOnly) {
        outcomes.push({ shareId, state: "attached", busy: false, detail: null });
      } else outcomes.push(failed(shareId, "a VM sees a share where and how it did when it started"));
    }
    const fresh = wanted.filter(({ shareId }) => !seen.some((share) => share.shareId === shareId));
    return [
      ...outcomes,
      ...fresh.map(({ shareId }) => failed(shareId, "a VM is given what it sees when it starts: start it again")),
    ];
  }

  /** The guest lets go of it, if it does as it is told; then its host serves it no more, whatever the guest does. */
  async #detach(share: AssignedShare): Promise<ShareOutcome> {
    const { jailed, paths, record } = this.#parts;
    const { shareId } = share;
    // Neither the guest nor its file server, which stand still together, would end before it goes on.
    if (jailed.paused) return failed(shareId, "the instance is paused and cannot let go of it: resume it, then detach");
    this.#sockets?.revoke(share.name);
    const left = await this.#unmount(share);
    // Noted first: whoever finds its server gone is not to take that for a loss.
    const detached = [...this.#detached, shareId];
    await writeMachineRecord(paths.record, { ...record, detached });
    const directory = sharedDirectories(record.assignment).find(({ path }) => path === share.path);
    if (directory !== undefined) await this.#servers.end(directory);
    const outcome = (await this.#keepInJail(detached)).find((each) => each.shareId === shareId);
    if (outcome?.state === "failed") return outcome;
    this.#detached.add(shareId);
    if (left instanceof Error) {
      return {
        shareId,
        state: "detached",
        busy: true,
        detail: `${left.message}; programs inside that use it wait for ever`,
      };
    }
    const detail = left.busy ? "programs inside that had files of it open were ended" : null;
    return { shareId, state: "detached", busy: left.busy, detail };
  }

  /** What the guest says of it, or why it says nothing in time; reaching one that does not answer takes longer than that. */
  async #unmount({ path }: AssignedShare): Promise<{ readonly busy: boolean } | Error> {
    const told = this.#parts.guest.talk((channel) => unmountInGuest(channel, path)).catch((error: Error) => error);
    if (await settlesWithin(told, unmountMs)) return told;
    return new Error(`the guest did not answer within ${unmountMs} ms`);
  }

  #keepInJail(detached: readonly string[]): Promise<ShareOutcome[]> {
    const { jailed, record } = this.#parts;
    return jailed.reshare(sharesInJail(record.assignment).filter(({ shareId }) => !detached.includes(shareId)));
  }

  /** What an agent before this one had begun to take away leaves the jail, too. */
  async settle(): Promise<void> {
    const inJail = this.#parts.jailed.assignment.shares ?? [];
    if (inJail.some(({ shareId }) => this.#detached.has(shareId))) await this.#keepInJail([...this.#detached]);
  }

  stop(): void {
    this.#sockets?.stop();
    this.#servers[Symbol.dispose]();
  }
}
