import { mkdir, mkdtemp, readdir, rename, rm, stat, symlink } from "node:fs/promises";
import { basename, join } from "node:path";
import type { Digest } from "@bulkhead/contracts";
import { command, SharedWork, type EnsuredImage } from "@bulkhead/images";
import { syncPath } from "@bulkhead/node";

/** A file system's own tables, and what the estimate below misses: its share of the content, and a constant. */
const overhead = { factor: 1.1, bytes: 32 * 2 ** 20 };
/** Allocation unit of the file system, in bytes. */
const blockBytes = 4096;

const nameOf = (digest: Digest): string => `${digest.replace(":", "-")}.ext4`;

interface Content {
  readonly bytes: number;
  readonly inodes: number;
}

/** Sum of the layers' files in whole blocks: what one layer hides of another is counted twice, which only costs holes. */
const contentOf = async (layers: readonly string[]): Promise<Content> => {
  let bytes = 0;
  let inodes = 0;
  for (const layer of layers) {
    for (const entry of await readdir(layer, { withFileTypes: true, recursive: true })) {
      inodes += 1;
      if (entry.isDirectory()) bytes += blockBytes;
      if (!entry.isFile()) continue;
      const { size } = await stat(join(entry.parentPath, entry.name));
      bytes += Math.ceil(size / blockBytes) * blockBytes;
    }
  }
  return { bytes, inodes };
};

// Reads the layers as the kernel shows them merged, in a mount namespace of its own that ends with it. `$0` is where.
const script = `
set -e
cd "$0"
mount -t overlay -o "ro,lowerdir=$1" overlay root
shift
exec mke2fs -d root "$@"
`;

/**
 * The images of a host as disks: one read-only file per digest, made once from the unpacked layers and shared by every
 * machine through the page cache. ext4 without a journal: every guest kernel has it built in, and its tools are on every
 * Debian host (docs/decisions/0021).
 */
export class ImageDisks {
  readonly #root: string;
  readonly #work = new SharedWork<string>();
  /** names of the directories in which disks are being made */
  readonly #making = new Set<string>();
  /** asked for since the last collection: no instance may be known yet that uses them */
  #asked = new Set<string>();
  #collecting: Promise<void> = Promise.resolve();

  constructor(root: string) {
    this.#root = root;
  }

  /** Where an image's disk is, or would be. */
  pathOf(digest: Digest): string {
    return join(this.#root, nameOf(digest));
  }

  /** The image's disk, made when there is none. Who asks at the same time shares the work, and leaves it alone. */
  async ensure(image: EnsuredImage, signal: AbortSignal): Promise<string> {
    const { manifestDigest } = image;
    const path = this.pathOf(manifestDigest);
    this.#asked.add(nameOf(manifestDigest));
    // It may be about to go.
    await this.#collecting;
    if ((await stat(path).catch(() => null)) !== null) return path;
    return this.#work.run(manifestDigest, signal, (given) => this.#make(image, path, given));
  }

  async #make({ layers }: EnsuredImage, path: string, signal: AbortSignal): Promise<string> {
    await mkdir(this.#root, { recursive: true, mode: 0o711 });
    const directory = await mkdtemp(join(this.#root, ".making-"));
    this.#making.add(basename(directory));
    try {
      await mkdir(join(directory, "root"));
      // Short names: all of them have to fit into the one page of options that mount(2) takes.
      for (const [index, layer] of layers.entries()) await symlink(layer, join(directory, String(index)));
      const { bytes, inodes } = await contentOf(layers);
      const blocks = Math.ceil((bytes * overhead.factor + overhead.bytes) / blockBytes) + inodes;
      const lower = [...layers.keys()].join(":");
      // An overlay has two lower directories at least.
      const lowers = layers.length === 1 ? (await mkdir(join(directory, "none")), "0:none") : lower;
      const options = ["-q", "-t", "ext4", "-b", String(blockBytes), "-m", "0", "-N", String(inodes + 1024)];
      const features = ["-O", "^has_journal,^resize_inode,^metadata_csum", "-E", "lazy_itable_init=0,nodiscard"];
      const words = [directory, lowers, ...options, ...features, "disk", String(blocks)];
      await command("unshare", ["--mount", "--propagation", "private", "sh", "-c", script, ...words], { signal });
      await command("chmod", ["0444", join(directory, "disk")]);
      // One that a power cut left without its content would be taken for whole by every start.
      await syncPath(join(directory, "disk"));
      await rename(join(directory, "disk"), path);
      await syncPath(this.#root);
    } finally {
      await rm(directory, { recursive: true, force: true });
      this.#making.delete(basename(directory));
    }
    return path;
  }

  /**
   * Removes the disks of images that are not `inUse` and that nobody asked for since the last time, and what a killed agent
   * left half made.
   */
  collect(inUse: ReadonlySet<Digest>): Promise<void> {
    const asked = this.#asked;
    this.#asked = new Set();
    const kept = new Set([...asked, ...[...inUse].map(nameOf)]);
    const collecting = this.#collecting.then(() => this.#remove((name) => !kept.has(name) && !this.#isWanted(name)));
    this.#collecting = collecting.catch(() => undefined);
    return collecting;
  }

  /** Also of one that is asked for meanwhile. */
  #isWanted(name: string): boolean {
    return this.#asked.has(name) || this.#making.has(name);
  }

  async #remove(isUnused: (name: string) => boolean): Promise<void> {
    const names: readonly string[] = await readdir(this.#root).catch(() => []);
    for (const name of names) {
      if (isUnused(name)) await rm(join(this.#root, name), { recursive: true, force: true });
    }
  }
}
