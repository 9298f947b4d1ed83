import { createReadStream } from "node:fs";
import { lstat, readdir, readlink } from "node:fs/promises";
import { join } from "node:path";
import { type TarHeader, tarEnd, tarHeader, tarPadding } from "../tar/tar-bytes.ts";

/** Name of the first entry with an inode: later ones are hard links to it. */
type FirstNames = Map<string, string>;

async function* entry(root: string, name: string, first: FirstNames): AsyncGenerator<Uint8Array> {
  const path = join(root, name);
  const info = await lstat(path);
  const header: TarHeader = { name, mode: info.mode & 0o7777, uid: info.uid, gid: info.gid };
  if (info.isSymbolicLink()) {
    yield tarHeader({ ...header, mode: 0o777, type: "2", linkname: await readlink(path) });
  } else if (info.isDirectory()) {
    // Directories and links change while the tree is made: their time is 0, for equal trees must give equal layers.
    yield tarHeader({ ...header, name: `${name}/`, type: "5" });
    for (const inner of (await readdir(path)).sort()) yield* entry(root, join(name, inner), first);
  } else if (info.isFile()) {
    const modifiedSeconds = Math.floor(info.mtimeMs / 1000);
    const inode = `${info.dev}:${info.ino}`;
    const linkname = info.nlink > 1 ? first.get(inode) : undefined;
    if (linkname !== undefined) {
      yield tarHeader({ ...header, modifiedSeconds, type: "1", linkname });
      return;
    }
    first.set(inode, name);
    yield tarHeader({ ...header, modifiedSeconds, sizeBytes: info.size });
    yield* createReadStream(path) as AsyncIterable<Uint8Array>;
    yield tarPadding(info.size);
  }
}

/** A tree as tar bytes: sorted, and the same for the same tree. Devices, pipes and sockets are left out. */
export async function* layerTar(root: string): AsyncGenerator<Uint8Array> {
  const first: FirstNames = new Map();
  for (const name of (await readdir(root)).sort()) yield* entry(root, name, first);
  yield tarEnd;
}
