import { constants } from "node:fs";
import { open, lstat } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { connected } from "../connected.ts";

/** Where a machine's agent is reached: a directory that only its monitor and root can write, and a socket's name in it. */
export interface GuestPort {
  readonly directory: string;
  readonly name: string;
}

/**
 * Connects to a socket below a directory of a jailed program. The directory is opened as what it is, so that neither its
 * path's length nor a link in its place matters, and the name in it has to be a socket.
 */
export const connectPort = async ({ directory, name }: GuestPort): Promise<Socket> => {
  await using place = await open(directory, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  const path = join("/proc/self/fd", String(place.fd), name);
  if (!(await lstat(path)).isSocket()) throw new Error(`${name} is no socket`);
  return await connected(connect(path));
};
