import { existsSync, readFileSync, writeFileSync } from "node:fs";
import type { Socket } from "node:net";
import type { ListeningSocket, SharedSocket, SocketDirectory } from "./socket-directory.ts";

/** By name: the numbers of what was made, so that a later agent removes that and nothing else. */
type Notes = Readonly<Record<string, number>>;

const readNotes = (path: string): Notes => {
  try {
    return existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as Notes) : {};
  } catch {
    return {};
  }
};

const isSame = (a: SharedSocket, b: SharedSocket): boolean =>
  a.name === b.name && a.mode === b.mode && a.uid === b.uid && a.gid === b.gid;

/**
 * The sockets of one share that a guest's programs listen at: each has one of its name on the host, unless somebody
 * else's is there. They end with the agent that made them, or are removed by the next one.
 */
export class PublishedSockets {
  readonly #directory: SocketDirectory;
  readonly #notes: string;
  readonly #connected: (name: string, socket: Socket) => void;
  readonly #listening = new Map<string, ListeningSocket>();
  #wanted: readonly SharedSocket[] = [];
  #work: Promise<void> = Promise.resolve();

  /** `notes` is a file of the run's, which need not be there. */
  constructor(directory: SocketDirectory, notes: string, connected: (name: string, socket: Socket) => void) {
    this.#directory = directory;
    this.#notes = notes;
    this.#connected = connected;
    for (const [name, number] of Object.entries(readNotes(notes))) directory.remove(name, number);
  }

  /** Numbers of what was made. */
  get numbers(): ReadonlySet<number> {
    return new Set([...this.#listening.values()].map(({ number }) => number));
  }

  /** Brings what is there in line with what the guest offers. Never rejects: what cannot be made is not there. */
  offer(sockets: readonly SharedSocket[]): Promise<void> {
    this.#wanted = sockets;
    this.#work = this.#work.then(() => this.#settle());
    return this.#work;
  }

  async #settle(): Promise<void> {
    const wanted = this.#wanted;
    for (const [name, { socket }] of this.#listening) {
      if (!wanted.some((each) => isSame(each, socket))) this.#end(name);
    }
    for (const socket of wanted) {
      if (this.#listening.has(socket.name) || this.#wanted !== wanted) continue;
      await this.#make(socket).catch(() => undefined);
    }
  }

  async #make(socket: SharedSocket): Promise<void> {
    const made = await this.#directory.listen(socket, (connection) => this.#connected(socket.name, connection));
    this.#listening.set(socket.name, made);
    try {
      this.#note();
    } catch (error) {
      this.#end(socket.name);
      throw error;
    }
  }

  #end(name: string): void {
    this.#listening.get(name)?.[Symbol.dispose]();
    this.#listening.delete(name);
  }

  #note(): void {
    const notes = Object.fromEntries([...this.#listening].map(([name, { number }]) => [name, number]));
    writeFileSync(this.#notes, JSON.stringify(notes));
  }

  /** Removes them all. */
  withdraw(): void {
    this.#wanted = [];
    for (const name of this.#listening.keys()) this.#end(name);
    void this.offer([]);
  }
}
