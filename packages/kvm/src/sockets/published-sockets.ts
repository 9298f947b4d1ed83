import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import type { Socket } from "node:net";
import { setTimeout as wait } from "node:timers/promises";
import type { ListeningSocket, SharedSocket, SocketDirectory } from "./socket-directory.ts";

/** By name: the numbers of what was made, so that a later agent removes that and nothing else. */
type Notes = Readonly<Record<string, number>>;

/** What a guest offers is made this often at most, in milliseconds, however often it offers something else. */
const settleMs = 20;

const readNotes = (path: string): Notes => {
  try {
    return existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as Notes) : {};
  } catch {
    return {};
  }
};

const isSame = (a: SharedSocket, b: SharedSocket): boolean =>
  a.name === b.name && a.mode === b.mode && a.uid === b.uid && a.gid === b.gid;

export interface PublishedSocketsParts {
  /** Somebody has connected to one of them. */
  readonly connected: (name: string, socket: Socket) => void;
  /** What is there is what was offered last, as far as it can be. */
  readonly settled: () => void;
}

/**
 * The sockets of one share that a guest's programs listen at: each has one of its name on the host, unless somebody
 * else's is there. They end with the agent that made them, or are removed by the next one.
 */
export class PublishedSockets {
  readonly #directory: SocketDirectory;
  readonly #notes: string;
  readonly #parts: PublishedSocketsParts;
  readonly #listening = new Map<string, ListeningSocket>();
  #wanted: readonly SharedSocket[] = [];
  #changed = false;
  #work: Promise<void> | null = null;
  /** what the notes say */
  #noted: string;

  /** `notes` is a file of the run's, which need not be there. */
  constructor(directory: SocketDirectory, notes: string, parts: PublishedSocketsParts) {
    this.#directory = directory;
    this.#notes = notes;
    this.#parts = parts;
    const left = readNotes(notes);
    this.#noted = JSON.stringify(left);
    for (const [name, number] of Object.entries(left)) directory.remove(name, number);
    this.#noteAgain();
  }

  /** Numbers of what was made. */
  get numbers(): ReadonlySet<number> {
    return new Set([...this.#listening.values()].map(({ number }) => number));
  }

  /**
   * Brings what is there in line with what the guest offers. Never rejects: what cannot be made is not there. A guest may
   * offer without end: whatever it offered meanwhile is one thing to do.
   */
  offer(sockets: readonly SharedSocket[]): Promise<void> {
    this.#wanted = sockets;
    this.#changed = true;
    this.#work ??= this.#settle().finally(() => (this.#work = null));
    return this.#work;
  }

  async #settle(): Promise<void> {
    while (this.#changed) {
      this.#changed = false;
      for (const [name, { socket }] of this.#listening) {
        if (!this.#isWanted(socket)) this.#end(name);
      }
      for (const socket of this.#wanted) {
        if (this.#listening.has(socket.name) || !this.#isWanted(socket)) continue;
        await this.#make(socket).catch(() => undefined);
      }
      this.#noteAgain();
      this.#parts.settled();
      await wait(settleMs);
    }
  }

  #isWanted(socket: SharedSocket): boolean {
    return this.#wanted.some((each) => isSame(each, socket));
  }

  async #make(socket: SharedSocket): Promise<void> {
    const made = await this.#directory.listen(socket, {
      connected: (connection) => this.#parts.connected(socket.name, connection),
      // Before it has its name: an agent that is killed now leaves nothing that the next one does not know.
      making: (number, draft) => this.#note({ [socket.name]: number, [draft]: number }),
    });
    if (this.#isWanted(socket)) this.#listening.set(socket.name, made);
    else made[Symbol.dispose]();
  }

  #end(name: string): void {
    this.#listening.get(name)?.[Symbol.dispose]();
    this.#listening.delete(name);
  }

  /** Throws what the file system says. */
  #note(more: Notes): void {
    const made = Object.fromEntries([...this.#listening].map(([name, { number }]) => [name, number]));
    const notes = JSON.stringify({ ...made, ...more });
    if (notes === this.#noted) return;
    writeFileSync(`${this.#notes}.new`, notes, { mode: 0o600 });
    renameSync(`${this.#notes}.new`, this.#notes);
    this.#noted = notes;
  }

  /** Of what is not there any more, a later agent would remove another's of the same number. */
  #noteAgain(): void {
    try {
      this.#note({});
    } catch {
      // The run is gone, or there is no room: what the notes say besides is not there, or will be removed.
    }
  }

  /** Removes them all. */
  withdraw(): void {
    for (const name of this.#listening.keys()) this.#end(name);
    this.#noteAgain();
    void this.offer([]);
  }
}
