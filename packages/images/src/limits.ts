/** What an image may cost before it is refused with IMAGE_TOO_LARGE. */
export interface ImageLimits {
  /** bytes of an archive after its outer compression, and of all its parts together */
  readonly maxArchiveBytes: number;
  /** bytes of one layer after decompression */
  readonly maxLayerBytes: number;
  /** entries of an archive, and of one layer (implied directories count) */
  readonly maxArchiveEntries: number;
  readonly maxLayerEntries: number;
  /** bytes of one manifest, index or configuration; registries refuse manifests above 4 MiB */
  readonly maxDocumentBytes: number;
  /** images of one archive; each is held in memory until all are verified */
  readonly maxImages: number;
  /** overlayfs takes 500 lower layers (OVL_MAX_STACK); some room is left for ours */
  readonly maxLayers: number;
}

export const defaultLimits: ImageLimits = {
  maxArchiveBytes: 32 * 2 ** 30,
  maxLayerBytes: 32 * 2 ** 30,
  maxArchiveEntries: 20_000,
  maxLayerEntries: 2_000_000,
  maxDocumentBytes: 4 * 2 ** 20,
  maxImages: 64,
  maxLayers: 400,
};
