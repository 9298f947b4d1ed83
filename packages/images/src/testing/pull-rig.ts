import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ImportedImage } from "../archive/imported-image.ts";
import { BlobStore } from "../blobs/blob-store.ts";
import { tarEnd, tarEntry } from "../tar/tar-bytes.ts";
import { ImagePolicy } from "../policy/image-policy.ts";
import { ImagePuller, type ImagePullerOptions } from "../pull/image-puller.ts";
import type { PullProgress } from "../pull/layer-progress.ts";

/** Waits that suit a server on the loopback. */
export const quickTimes = { pace: { windowMs: 300, minBytes: 1024 }, deadlineMs: 1_500, mirrorDeadlineMs: 300 };

/** A layer of about `kib` KiB that no compression makes small; equal names give equal bytes. */
export const layerOf = (name: string, kib = 1): Buffer => {
  const words = Buffer.alloc(kib * 1024);
  // A linear congruential generator (Numerical Recipes): the same bytes in every run.
  let state = Buffer.from(name).reduce((sum, byte) => (sum * 31 + byte) >>> 0, 7);
  for (let at = 0; at < words.byteLength; at += 1) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    words[at] = state >>> 24;
  }
  return Buffer.concat([tarEntry({ name }, words), tarEnd]);
};

/** A puller with a store in a temporary directory. */
export class PullRig implements AsyncDisposable {
  readonly directory: string;
  readonly blobs: BlobStore;
  readonly puller: ImagePuller;
  readonly progress: PullProgress[] = [];

  private constructor(directory: string, blobs: BlobStore, puller: ImagePuller) {
    this.directory = directory;
    this.blobs = blobs;
    this.puller = puller;
  }

  static async open(
    files: { settings?: object; credentials?: object; policy?: object } = {},
    options: Partial<ImagePullerOptions> = {},
  ): Promise<PullRig> {
    const directory = await mkdtemp(join(tmpdir(), "bulkhead-pull-"));
    const write = async (name: string, content: object | undefined) => {
      if (content === undefined) return undefined;
      await writeFile(join(directory, name), JSON.stringify(content), { mode: 0o600 });
      return join(directory, name);
    };
    const settingsFile = await write("settings.json", files.settings);
    const credentialsFile = await write("auth.json", files.credentials);
    const blobs = await BlobStore.open({ root: directory });
    const puller = await ImagePuller.open({
      root: directory,
      blobs,
      policy: new ImagePolicy(await write("policy.json", files.policy)),
      times: quickTimes,
      ...(settingsFile === undefined ? {} : { settingsFile }),
      ...(credentialsFile === undefined ? {} : { credentialsFile }),
      ...options,
    });
    return new PullRig(directory, blobs, puller);
  }

  pull(reference: string, options: { project?: string; signal?: AbortSignal } = {}): Promise<ImportedImage> {
    return this.puller.pull({
      reference,
      project: options.project ?? "default",
      signal: options.signal ?? new AbortController().signal,
      onProgress: (progress) => this.progress.push(progress),
    });
  }

  /** Digests of everything stored. */
  async stored(): Promise<readonly string[]> {
    return (await Array.fromAsync(this.blobs.list())).map(({ digest }) => digest).sort();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.directory, { recursive: true, force: true });
  }
}
