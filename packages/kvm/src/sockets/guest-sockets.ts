import { setTimeout as wait } from "node:timers/promises";
import type { MachineChannel } from "@bulkhead/contracts";
import type { GuestChannel, StreamListener, StreamTaker } from "../guest/channel.ts";
import { frameTypes, type Frame } from "../guest/frames.ts";
import type { SharedSocket, SocketDirectory } from "./socket-directory.ts";
import { SocketStream } from "./socket-stream.ts";

/** Connections of one machine, and of one of its shares: native/guest/src/connection.c holds its programs to both. */
const connectionsMax = 64;
const connectionsOfOneMax = 32;
/** How long after a guest was lost it is looked for again, in milliseconds. */
const againMs = 1_000;
/** A share whose names never rest is looked at this often at most, in milliseconds. */
const lookMs = 20;

/** A share of sockets that a machine sees. */
export interface SocketPlace {
  readonly name: string;
  /** where its guest sees it */
  readonly path: string;
  readonly directory: SocketDirectory;
}

interface Carried extends SocketPlace {
  readonly number: number;
  readonly streams: Set<SocketStream>;
  /** connections since this agent knows it */
  uses: number;
  /** names that the guest was told of */
  listed: ReadonlySet<string>;
  watcher: Disposable | null;
  /** nothing of it is shown or carried any more */
  revoked: boolean;
  looking: boolean;
  changed: boolean;
}

const wordOf = ({ name, mode, uid, gid }: SharedSocket): string => `${mode.toString(8)}:${uid}:${gid}:${name}\0`;

/**
 * Shows a guest the sockets of its shares, and carries its programs' connections to them, for as long as this agent runs.
 * What a guest says is a share's number and a name that it was told.
 */
export class GuestSockets implements StreamTaker {
  readonly #places: Carried[];
  readonly #connect: () => Promise<GuestChannel>;
  readonly #againMs: number;
  readonly #end = new AbortController();
  #channel: GuestChannel | null = null;
  #lost = Promise.withResolvers<void>();
  #problem: string | null = "the guest's agent was not reached yet";

  /** `connect` answers the channel that is open, or opens one. */
  constructor(places: readonly SocketPlace[], connect: () => Promise<GuestChannel>, waitMs = againMs) {
    this.#places = places.map((place, number) => {
      const unseen = { listed: new Set<string>(), watcher: null, revoked: false, looking: false, changed: false };
      return { ...place, ...unseen, number, streams: new Set(), uses: 0 };
    });
    this.#connect = connect;
    this.#againMs = waitMs;
  }

  /** Why they are not carried now; null: they are. */
  get problem(): string | null {
    return this.#problem;
  }

  get channels(): MachineChannel[] {
    const shown = this.#places.filter(({ revoked }) => !revoked);
    return shown.map(({ name, path, uses }) => {
      return { kind: "socket", name: `share ${name}`, at: path, queues: null, uses };
    });
  }

  /** Resolves when `stop` was called. */
  async carry(): Promise<void> {
    const { signal } = this.#end;
    while (!signal.aborted) {
      try {
        for (const place of this.#places) this.#watch(place);
        const channel = await this.#connect();
        this.#lost = Promise.withResolvers();
        this.#channel = channel;
        channel.serve(this);
        for (const place of this.#places) void this.#look(place);
        this.#problem = null;
        await this.#lost.promise;
        this.#problem = "the connection to the guest's agent ended";
      } catch (error) {
        this.#problem = (error as Error).message;
      }
      this.#channel = null;
      await wait(this.#againMs, undefined, { signal, ref: false }).catch(() => undefined);
    }
  }

  #watch(place: Carried): void {
    if (!place.revoked) place.watcher ??= place.directory.watch(() => void this.#look(place));
  }

  /** Ends connections to one share, and shows it no more. */
  revoke(shareName: string): void {
    for (const place of this.#places.filter(({ name }) => name === shareName)) {
      place.revoked = true;
      place.watcher?.[Symbol.dispose]();
      this.#tell(place, []);
      for (const stream of place.streams) stream.revoke();
    }
  }

  stop(): void {
    this.#end.abort();
    for (const { watcher } of this.#places) watcher?.[Symbol.dispose]();
    this.#channel?.close();
  }

  lost(): void {
    this.#lost.resolve();
  }

  /** Tells the guest what is there; asked again meanwhile, once more. Never rejects. */
  async #look(place: Carried): Promise<void> {
    place.changed = true;
    if (place.looking) return;
    place.looking = true;
    while (place.changed && !this.#end.signal.aborted) {
      place.changed = false;
      // A directory that cannot be read has nothing in it to connect to.
      const sockets = await place.directory.list().catch(() => []);
      this.#tell(place, place.revoked ? [] : sockets);
      await wait(lookMs);
    }
    place.looking = false;
  }

  #tell(place: Carried, sockets: readonly SharedSocket[]): void {
    const channel = this.#channel;
    if (channel === null || channel.closed) return;
    place.listed = new Set(sockets.map(({ name }) => name));
    const words = Buffer.from(sockets.map(wordOf).join(""));
    channel.send(frameTypes.sockets, 0, Buffer.concat([Buffer.from([place.number]), words]));
  }

  take(channel: GuestChannel, first: Frame): StreamListener {
    const place = this.#places[first.payload[0] ?? this.#places.length];
    const name = first.payload.toString("utf8", 1);
    const all = this.#places.reduce((sum, { streams }) => sum + streams.size, 0);
    if (place === undefined || all >= connectionsMax || place.streams.size >= connectionsOfOneMax) {
      throw new Error("the guest begins more connections than it may, or to no share of its own");
    }
    const listed = place.listed.has(name);
    const opening = listed ? place.directory.connect(name) : Promise.reject(new Error("it was not told of it"));
    const stream = new SocketStream(channel, first, opening, () => place.streams.delete(stream));
    place.streams.add(stream);
    place.uses += 1;
    return stream;
  }
}
