import type { Socket } from "node:net";
import { setTimeout as wait } from "node:timers/promises";
import type { MachineChannel } from "@bulkhead/contracts";
import type { GuestChannel, StreamListener, StreamTaker } from "../guest/channel.ts";
import { frameTypes, type Frame } from "../guest/frames.ts";
import { PublishedSockets } from "./published-sockets.ts";
import type { SharedSocket, SocketDirectory } from "./socket-directory.ts";
import { readSockets, wordOf } from "./socket-words.ts";
import { SocketStream } from "./socket-stream.ts";

/**
 * Connections of one machine that its programs begin, of all its shares and of one, and those to its programs:
 * native/guest/src/connection.c holds to the same.
 */
const begunMax = 64;
const begunOfOneMax = 32;
const reachedMax = 32;
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
  /** a file of the run's for what its programs listen at; null: it is read-only for them */
  readonly notes: string | null;
}

interface Carried extends SocketPlace {
  readonly number: number;
  /** that the guest began, and that lead to it */
  readonly streams: Set<SocketStream>;
  readonly reached: Set<SocketStream>;
  published: PublishedSockets | null;
  /** connections since this agent knows it */
  uses: number;
  /** names that the guest was told of, or is at its next connection */
  listed: ReadonlySet<string>;
  watcher: Disposable | null;
  /** nothing of it is shown or carried any more */
  revoked: boolean;
  looking: boolean;
  changed: boolean;
}

/**
 * Shows a guest the sockets of its shares and shows its own there, and carries the connections of both sides, for as long
 * as this agent runs. What a guest says is a share's number and a name that it was told, or one that is not taken.
 */
export class GuestSockets implements StreamTaker {
  readonly #places: Carried[];
  readonly #connect: () => Promise<GuestChannel>;
  readonly #againMs: number;
  readonly #end = new AbortController();
  #channel: GuestChannel | null = null;
  #lost = Promise.withResolvers<void>();
  /** none while the guest is met for the first time */
  #problem: string | null = null;

  /** `connect` answers the channel that is open, or opens one. */
  constructor(places: readonly SocketPlace[], connect: () => Promise<GuestChannel>, waitMs = againMs) {
    this.#places = places.map((place, number) => {
      const unseen = { listed: new Set<string>(), watcher: null, revoked: false, looking: false, changed: false };
      const none = { streams: new Set<SocketStream>(), reached: new Set<SocketStream>() };
      return { ...place, ...unseen, ...none, number, published: null, uses: 0 };
    });
    for (const place of this.#places) {
      const { directory, notes } = place;
      if (notes === null) continue;
      place.published = new PublishedSockets(directory, notes, {
        connected: (name, socket) => this.#reach(place, name, socket),
        settled: () => void this.#look(place),
      });
    }
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
      place.published?.withdraw();
      for (const stream of [...place.streams, ...place.reached]) stream.revoke();
    }
  }

  stop(): void {
    this.#end.abort();
    for (const { watcher, published } of this.#places) {
      watcher?.[Symbol.dispose]();
      published?.withdraw();
    }
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
      const sockets = await place.directory.list(place.published?.numbers).catch(() => []);
      this.#tell(place, place.revoked ? [] : sockets);
      await wait(lookMs);
    }
    place.looking = false;
  }

  #tell(place: Carried, sockets: readonly SharedSocket[]): void {
    // Also while nobody hears it: what is not there any more is not led to, whichever connection asks.
    place.listed = new Set(sockets.map(({ name }) => name));
    const channel = this.#channel;
    if (channel === null || channel.closed) return;
    const words = Buffer.from(sockets.map(wordOf).join(""));
    channel.send(frameTypes.sockets, 0, Buffer.concat([Buffer.from([place.number]), words]));
  }

  take(channel: GuestChannel, first: Frame): StreamListener {
    const place = this.#places[first.payload[0] ?? this.#places.length];
    const name = first.payload.toString("utf8", 1);
    const all = this.#places.reduce((sum, { streams }) => sum + streams.size, 0);
    if (place === undefined || all >= begunMax || place.streams.size >= begunOfOneMax) {
      throw new Error("the guest begins more connections than it may, or to no share of its own");
    }
    const listed = !place.revoked && place.listed.has(name);
    const opening = listed ? place.directory.connect(name) : Promise.reject(new Error("it was not told of it"));
    const stream = new SocketStream(channel, first, opening, () => place.streams.delete(stream));
    place.streams.add(stream);
    place.uses += 1;
    return stream;
  }

  heed({ payload }: Frame): void {
    const place = this.#places[payload[0] ?? this.#places.length];
    if (place?.published == null) throw new Error("the guest offers sockets in no share of its own");
    const offered = readSockets(payload.subarray(1));
    if (!place.revoked) void place.published.offer(offered);
  }

  /** A container's program connects to one of the guest's. */
  #reach(place: Carried, name: string, socket: Socket): void {
    const channel = this.#channel;
    const all = this.#places.reduce((sum, { reached }) => sum + reached.size, 0);
    if (channel === null || channel.closed || place.revoked || all >= reachedMax) {
      socket.destroy();
      return;
    }
    const start = Buffer.concat([Buffer.from([place.number]), Buffer.from(name)]);
    const stream = new SocketStream(channel, start, Promise.resolve(socket), () => place.reached.delete(stream));
    place.reached.add(stream);
    place.uses += 1;
  }
}
