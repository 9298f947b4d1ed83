import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { closeSync, constants, lstatSync, openSync, unlinkSync, watch, type FSWatcher } from "node:fs";
import { chmod, chown, link, lstat, open, readdir, unlink } from "node:fs/promises";
import { connect, createServer, type Socket } from "node:net";
import { connected } from "../connected.ts";

/** Names a file without opening it; open(2) of x86-64, of which Node has no constant. */
const namingOnly = 0o1000_0000;
/** Of one directory, and bytes of a name, as many as a guest has room for (native/guest/src/socket_list.h). */
export const socketsMax = 64;
const socketNameMax = 100;
/** Ids of an instance; what others own, which none of them is mapped to, is nobody's inside (user_namespaces(7)). */
const idsOfInstance = 65_536;
const nobody = 65_534;
const writableByAll = 0o002;

/** A socket of a share as instances see it. */
export interface SharedSocket {
  readonly name: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/** One that was made, with the number of its file; disposing it removes it. */
export interface ListeningSocket extends Disposable {
  readonly socket: SharedSocket;
  readonly number: number;
}

export interface Listening {
  readonly connected: (connection: Socket) => void;
  /** Called with the number of its file, which has the name `draft` now, before it has its own. What it throws ends it. */
  readonly making: (number: number, draft: string) => void;
}

/** As instances see who owns something. */
export const insideId = (id: number): number => (id < idsOfInstance ? id : nobody);

/** A name that is one in a directory, and that a guest can have too. */
export const isPlain = (name: string): boolean =>
  name !== "" && !/[/\0\uFFFD]/.test(name) && name !== "." && name !== ".." && Buffer.byteLength(name) <= socketNameMax;

/**
 * The sockets of one share, on the host. Its users make and remove what they want in it: names are resolved below its
 * descriptor, links are not followed, and what a name led to when it was looked at is what is connected to.
 */
export class SocketDirectory {
  readonly #path: string;

  /** `path` is a directory in one that only root can write. */
  constructor(path: string) {
    this.#path = path;
  }

  #open() {
    return open(this.#path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  }

  /** Sockets that are there now but those of these numbers, the first ones by name. Rejects what the file system says. */
  async list(without: ReadonlySet<number> = new Set()): Promise<SharedSocket[]> {
    await using directory = await this.#open();
    const below = `/proc/self/fd/${directory.fd}`;
    const names = (await readdir(below)).filter(isPlain).toSorted();
    const found: SharedSocket[] = [];
    for (const name of names) {
      if (found.length === socketsMax) break;
      // One that goes away meanwhile is none.
      const status = await lstat(`${below}/${name}`).catch(() => null);
      if (status?.isSocket() !== true || without.has(status.ino)) continue;
      found.push({ name, mode: status.mode & 0o7777, uid: insideId(status.uid), gid: insideId(status.gid) });
    }
    return found;
  }

  /** Rejects when there is no such socket, nobody listens, or no instance may connect to it. */
  async connect(name: string): Promise<Socket> {
    if (!isPlain(name)) throw new Error("no name of a socket");
    await using directory = await this.#open();
    await using named = await open(`/proc/self/fd/${directory.fd}/${name}`, namingOnly | constants.O_NOFOLLOW);
    const status = await named.stat();
    if (!status.isSocket()) throw new Error(`${name} is no socket`);
    // An instance's root is anybody there but whom none of its ids is mapped to.
    if (status.uid >= idsOfInstance && (status.mode & writableByAll) === 0) throw new Error(`${name} is not for all`);
    return await connected(connect({ path: `/proc/self/fd/${named.fd}`, allowHalfOpen: true }));
  }

  /**
   * Listens at a new name. Owner and mode are those of the socket that it is made for, before anybody finds it. Rejects
   * EEXIST when something has the name, and what the file system says.
   */
  async listen(socket: SharedSocket, { connected: heard, making }: Listening): Promise<ListeningSocket> {
    if (!isPlain(socket.name)) throw new Error("no name of a socket");
    await using directory = await this.#open();
    const below = `/proc/self/fd/${directory.fd}`;
    // The server's own name, which it removes at its end whatever has it then.
    const draftName = `.${randomUUID()}`;
    const draft = `${below}/${draftName}`;
    const server = createServer({ allowHalfOpen: true }, heard).listen(draft);
    // A connection that cannot be taken, for want of descriptors, waits.
    server.on("error", () => undefined);
    try {
      await once(server, "listening");
      await using named = await open(draft, namingOnly | constants.O_NOFOLLOW);
      const status = await named.stat();
      if (!status.isSocket()) throw new Error("somebody else's");
      making(status.ino, draftName);
      await chmod(`/proc/self/fd/${named.fd}`, socket.mode & 0o777);
      await chown(`/proc/self/fd/${named.fd}`, socket.uid, socket.gid);
      await link(draft, `${below}/${socket.name}`);
      await unlink(draft);
      const number = status.ino;
      const end = (): void => {
        this.remove(socket.name, number);
        server.close();
      };
      return { socket, number, [Symbol.dispose]: end };
    } catch (error) {
      await unlink(draft).catch(() => undefined);
      server.close();
      throw error;
    }
  }

  /** Removes a name that leads to what has this number; another's stays. */
  remove(name: string, number: number): void {
    try {
      const directory = openSync(this.#path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
      try {
        const path = `/proc/self/fd/${directory}/${name}`;
        if (isPlain(name) && lstatSync(path).ino === number) unlinkSync(path);
      } finally {
        closeSync(directory);
      }
    } catch {
      // It is gone, or all of its directory is.
    }
  }

  /** Calls at every change in it, and some that are none. Throws when the kernel watches no more. */
  watch(changed: () => void): Disposable {
    const watcher: FSWatcher = watch(this.#path, changed);
    // It ends with the directory, which has users while this is one of them.
    watcher.on("error", () => undefined);
    return { [Symbol.dispose]: () => watcher.close() };
  }
}
