import { mkdir, open, readFile, readdir, rename, rmdir, stat, utimes } from "node:fs/promises";
import { join } from "node:path";
import type { Digest } from "@bulkhead/contracts";
import { Type } from "typebox";
import { Value } from "typebox/value";
import { syncDirectory } from "../blobs/staging.ts";
import { ownerOf, unfinishedName } from "../blobs/owner.ts";
import { digestOfHex, hexOf } from "../digest.ts";
import type { Unpacker, UnpackReport } from "./unpacker.ts";

const Marker = Type.Object({ opaqueRoot: Type.Boolean(), bytes: Type.Integer(), entries: Type.Integer() });

export interface LayerInfo {
  readonly diffId: Digest;
  readonly usedMs: number;
}

export interface ReadyLayer {
  /** absolute path of the layer's root */
  readonly path: string;
  /** it hides every layer below it */
  readonly opaqueRoot: boolean;
}

const hasCode = (error: unknown, ...codes: readonly string[]): boolean =>
  error instanceof Error && "code" in error && codes.includes(String(error.code));

/**
 * Unpacked layers: `layers/<diffId hex>/{fs,layer.json}`. A layer appears by one rename when it is whole and on disk,
 * and goes by one rename before it is emptied, so a directory that is there is a whole layer whatever crashed. The time
 * of last use is the mtime of layer.json.
 */
export class LayerDirectories {
  readonly #layers: string;
  readonly #work: string;
  readonly #unpacker: Unpacker;

  private constructor(root: string, unpacker: Unpacker) {
    this.#layers = join(root, "layers");
    this.#work = join(root, "work");
    this.#unpacker = unpacker;
  }

  /** Makes the directories and removes what ended processes left half done. */
  static async open(root: string, unpacker: Unpacker): Promise<LayerDirectories> {
    const directories = new LayerDirectories(root, unpacker);
    // 0711: the mapped root of a container passes through, and can list nothing.
    for (const path of [directories.#layers, directories.#work]) await mkdir(path, { recursive: true, mode: 0o711 });
    for (const name of await readdir(directories.#work)) {
      if (ownerOf(name) !== "running") await directories.discard(join(directories.#work, name));
    }
    return directories;
  }

  #path(diffId: Digest): string {
    return join(this.#layers, hexOf(diffId));
  }

  /** The layer if it is there; marks it as used now. */
  async use(diffId: Digest): Promise<ReadyLayer | undefined> {
    const path = this.#path(diffId);
    const marker = join(path, "layer.json");
    try {
      const now = new Date();
      await utimes(marker, now, now);
      const said: unknown = JSON.parse(await readFile(marker, "utf8"));
      if (Value.Check(Marker, said)) return { path: join(path, "fs"), opaqueRoot: said.opaqueRoot };
    } catch (cause) {
      if (hasCode(cause, "ENOENT")) return undefined;
      if (!(cause instanceof SyntaxError)) throw cause;
    }
    // A marker cut short by a disk fault: the layer cannot be trusted either.
    await this.remove(diffId);
    return undefined;
  }

  /** An empty directory to unpack into, which `publish` or `discard` takes. */
  async begin(): Promise<{ work: string; root: string }> {
    const work = join(this.#work, unfinishedName());
    const root = join(work, "fs");
    await mkdir(root, { recursive: true, mode: 0o755 });
    return { work, root };
  }

  /** Gives a whole layer its name. When another process was faster, its layer stays and this one goes. */
  async publish(work: string, diffId: Digest, report: UnpackReport): Promise<void> {
    const marker = { opaqueRoot: report.opaqueRoot, bytes: report.bytes, entries: report.entries };
    {
      await using file = await open(join(work, "layer.json"), "wx", 0o600);
      await file.writeFile(JSON.stringify(marker));
      await file.sync();
    }
    await syncDirectory(work);
    try {
      await rename(work, this.#path(diffId));
    } catch (cause) {
      if (!hasCode(cause, "EEXIST", "ENOTEMPTY")) throw cause;
      await this.discard(work);
    }
    await syncDirectory(this.#layers);
  }

  /** Removes a work directory, whatever is in it. */
  async discard(work: string): Promise<void> {
    await this.#unpacker.empty(work);
    await rmdir(work);
  }

  async list(): Promise<readonly LayerInfo[]> {
    const found: LayerInfo[] = [];
    for (const name of await readdir(this.#layers)) {
      const info = await stat(join(this.#layers, name, "layer.json")).catch(() => undefined);
      found.push({ diffId: digestOfHex(name), usedMs: info?.mtimeMs ?? 0 });
    }
    return found;
  }

  /**
   * Takes a layer away unless another process used it since `usedBeforeMs`; answers the directory to `discard`. The use
   * is looked at again after the rename: who marked it in between gets it back at once.
   */
  async withdraw(diffId: Digest, usedBeforeMs: number): Promise<string | undefined> {
    const marker = await stat(join(this.#path(diffId), "layer.json")).catch(() => undefined);
    if (marker !== undefined && marker.mtimeMs >= usedBeforeMs) return undefined;
    const work = join(this.#work, unfinishedName());
    try {
      await rename(this.#path(diffId), work);
    } catch (cause) {
      if (hasCode(cause, "ENOENT")) return undefined;
      throw cause;
    }
    const info = await stat(join(work, "layer.json")).catch(() => undefined);
    if (info === undefined || info.mtimeMs < usedBeforeMs) return work;
    await rename(work, this.#path(diffId)).catch(async (cause: unknown) => {
      if (!hasCode(cause, "EEXIST", "ENOTEMPTY")) throw cause;
      await this.discard(work);
    });
    return undefined;
  }

  async remove(diffId: Digest): Promise<void> {
    const work = await this.withdraw(diffId, Infinity);
    if (work !== undefined) await this.discard(work);
  }
}
