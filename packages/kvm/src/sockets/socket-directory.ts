import { once } from "node:events";
import { constants, watch, type FSWatcher } from "node:fs";
import { lstat, open, readdir } from "node:fs/promises";
import { connect, type Socket } from "node:net";

/** Names a file without opening it; open(2) of x86-64, of which Node has no constant. */
const namingOnly = 0o1000_0000;
/** How long a socket may take to take a connection, in milliseconds: its program's queue is full, or it is not. */
const connectMs = 5_000;
/** Of one directory, and bytes of a name, as many as a guest has room for (native/guest/src/socket_list.h). */
const socketsMax = 64;
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

const insideId = (id: number): number => (id < idsOfInstance ? id : nobody);

/** A name that is one in a directory, and that a guest can have too. */
const isPlain = (name: string): boolean =>
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

  /** Sockets that are there now, the first ones by name. Rejects what the file system says. */
  async list(): Promise<SharedSocket[]> {
    await using directory = await this.#open();
    const below = `/proc/self/fd/${directory.fd}`;
    const names = (await readdir(below)).filter(isPlain).toSorted();
    const found: SharedSocket[] = [];
    for (const name of names) {
      if (found.length === socketsMax) break;
      // One that goes away meanwhile is none.
      const status = await lstat(`${below}/${name}`).catch(() => null);
      if (status?.isSocket() !== true) continue;
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
    const socket = connect({ path: `/proc/self/fd/${named.fd}`, allowHalfOpen: true });
    try {
      await once(socket, "connect", { signal: AbortSignal.timeout(connectMs) });
      return socket;
    } catch (error) {
      socket.destroy();
      throw error;
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
