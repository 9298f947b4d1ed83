import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { stat } from "node:fs/promises";
import { Readable, type Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGzip, createZstdCompress } from "node:zlib";
import type { Digest } from "@bulkhead/contracts";
import { digestOf, digestOfHex, hexOf } from "../digest.ts";
import { encodeManifest, mediaTypes } from "../oci/manifest.ts";
import { tarEnd, tarEntry, tarHeader, tarPadding } from "../tar/tar-bytes.ts";
import type { BuildImageInput, BuildImageOptions } from "./input.ts";

export interface BuiltLayer {
  readonly path: string;
  readonly digest: Digest;
  readonly diffId: Digest;
  readonly sizeBytes: number;
  readonly mediaType: string;
}

type Compression = NonNullable<BuildImageOptions["compression"]>;

const types = { none: mediaTypes.layer, gzip: mediaTypes.layerGzip, zstd: mediaTypes.layerZstd } as const;

const compressor = (compression: "gzip" | "zstd"): Transform =>
  compression === "gzip" ? createGzip({ level: 6 }) : createZstdCompress();

/** Writes a layer's tar to a file, compressed. */
export const writeLayer = async (
  tar: AsyncIterable<Uint8Array>,
  path: string,
  compression: Compression,
): Promise<BuiltLayer> => {
  const [plain, stored] = [createHash("sha256"), createHash("sha256")];
  async function* tap(source: AsyncIterable<Uint8Array>, hash: typeof plain): AsyncGenerator<Uint8Array> {
    for await (const chunk of source) {
      hash.update(chunk);
      yield chunk;
    }
  }
  const plainTar = Readable.from(tap(tar, plain), { objectMode: false });
  const target = createWriteStream(path);
  if (compression === "none") await pipeline(plainTar, (source) => tap(source, stored), target);
  else await pipeline(plainTar, compressor(compression), (source) => tap(source, stored), target);
  const { size } = await stat(path);
  return {
    path,
    digest: digestOfHex(stored.digest("hex")),
    diffId: digestOfHex(plain.digest("hex")),
    sizeBytes: size,
    mediaType: types[compression],
  };
};

/** The image configuration; equal input gives equal bytes, so no time of creation. */
export const encodeConfig = (input: BuildImageInput, diffIds: readonly Digest[]): Buffer =>
  Buffer.from(
    JSON.stringify({
      architecture: "amd64",
      os: "linux",
      config: {
        ...(input.entrypoint === undefined ? {} : { Entrypoint: input.entrypoint }),
        ...(input.cmd === undefined ? {} : { Cmd: input.cmd }),
        Env: Object.entries({ PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", ...input.env }).map(
          ([name, value]) => `${name}=${value}`,
        ),
        ...(input.user === undefined ? {} : { User: input.user }),
        ...(input.workdir === undefined ? {} : { WorkingDir: input.workdir }),
        ...(input.stopSignal === undefined ? {} : { StopSignal: input.stopSignal }),
        ...(input.labels === undefined ? {} : { Labels: input.labels }),
      },
      rootfs: { type: "layers", diff_ids: diffIds },
    }),
  );

/** Writes an OCI image layout as one tar file. */
export const writeLayout = async (
  path: string,
  image: { config: Buffer; layers: readonly BuiltLayer[]; name: string | undefined },
): Promise<void> => {
  const config = { digest: digestOf(image.config), sizeBytes: image.config.byteLength };
  const manifest = encodeManifest({ config, layers: image.layers });
  const index = {
    schemaVersion: 2,
    mediaType: mediaTypes.index,
    manifests: [
      {
        mediaType: mediaTypes.manifest,
        digest: digestOf(manifest),
        size: manifest.byteLength,
        platform: { architecture: "amd64", os: "linux" },
        ...(image.name === undefined ? {} : { annotations: { "org.opencontainers.image.ref.name": image.name } }),
      },
    ],
  };
  async function* tar(): AsyncGenerator<Uint8Array> {
    yield tarEntry({ name: "oci-layout" }, JSON.stringify({ imageLayoutVersion: "1.0.0" }));
    yield tarEntry({ name: "index.json" }, JSON.stringify(index));
    yield tarEntry({ name: `blobs/sha256/${hexOf(digestOf(manifest))}` }, manifest);
    yield tarEntry({ name: `blobs/sha256/${hexOf(config.digest)}` }, image.config);
    for (const layer of new Map(image.layers.map((built) => [built.digest, built])).values()) {
      yield tarHeader({ name: `blobs/sha256/${hexOf(layer.digest)}`, sizeBytes: layer.sizeBytes });
      yield* createReadStream(layer.path) as AsyncIterable<Uint8Array>;
      yield tarPadding(layer.sizeBytes);
    }
    yield tarEnd;
  }
  await pipeline(tar(), createWriteStream(path));
};
