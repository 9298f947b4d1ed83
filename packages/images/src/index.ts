export { type ImportedImage, type ImportedLayer, type ImportOptions, importArchive } from "./archive/import.ts";
export { type BlobInfo, BlobStore } from "./blobs/blob-store.ts";
export { digestOf, isDigest, parseDigest } from "./digest.ts";
export { defaultLimits, type ImageLimits } from "./limits.ts";
export { type ParsedConfig, parseConfig } from "./oci/image-config.ts";
export { mediaTypes } from "./oci/manifest.ts";
