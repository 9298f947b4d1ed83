export { builtConflictImages, type ConflictImage, conflictImages, type ConflictImages } from "./conflict.ts";
export { corruptArchive, corruptArchives, type CorruptKind, type CorruptOptions } from "./corrupt-archive.ts";
export { type MountedDirectory, symlinkedDirectoryImage, unrunnableImage } from "./hostile-roots.ts";
export { layoutBytes, type LayoutBytes, type LayoutParts } from "./layout-bytes.ts";
export { buildImage, busyboxImage, nginxImage, redisImage } from "./ready-made.ts";
export { MemoryFetcher } from "./memory-fetcher.ts";
export { FakeRegistry, type Intercept, sendRange } from "./fake-registry.ts";
export { registryImage, registryIndex, type RegistryImage, type RegistryImageParts } from "./registry-image.ts";
export { TokenServer, type TokenServerOptions } from "./token-server.ts";
