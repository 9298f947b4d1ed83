import { type TarHeader, tarEnd, tarEntry } from "@bulkhead/images";
import { type LayoutParts, layoutBytes } from "./layout-bytes.ts";

/** Names a directory outside any image that a hostile one aims at. */
export interface CorruptOptions {
  /** absolute path of a host directory; nothing in it may change */
  readonly outside: string;
}

type Code = "IMAGE_INVALID" | "IMAGE_DIGEST_MISMATCH";

interface Case {
  /** `import`: refused when the archive is read; `unpack`: refused on the host; `contained`: runs, and reaches nothing */
  readonly refusedAt: "import" | "unpack" | "contained";
  readonly code?: Code;
  readonly make: (options: CorruptOptions) => Buffer;
}

const tar = (...entries: readonly (readonly [Omit<TarHeader, "sizeBytes">, string?])[]): Buffer =>
  Buffer.concat([...entries.map(([header, content]) => tarEntry(header, content)), tarEnd]);

const honest = tar([{ name: "etc/", type: "5", mode: 0o755 }], [{ name: "etc/hello" }, "hello\n"]);

const flipped = (bytes: Buffer): Buffer => {
  const copy = Buffer.from(bytes);
  const at = Math.floor(copy.byteLength / 2);
  copy.writeUInt8(copy.readUInt8(at) ^ 1, at);
  return copy;
};

const archive = (layer: Buffer, rest: Omit<LayoutParts, "layers"> = {}): Buffer =>
  layoutBytes({ layers: [layer], ...rest }).archive;

const spoiltBlob = (kind: "manifest" | "config" | "layer", spoil: (bytes: Buffer) => Buffer | undefined): Buffer =>
  archive(honest, { spoil: (blob) => (blob.kind === kind ? spoil(blob.bytes) : blob.bytes) });

const link = (name: string, linkname: string): [TarHeader] => [{ name, type: "2", linkname, mode: 0o777 }];

const importCase = (code: Code, make: () => Buffer): Case => ({ refusedAt: "import", code, make });
const unpackCase = (make: Case["make"]): Case => ({ refusedAt: "unpack", code: "IMAGE_INVALID", make });
const contained = (make: Case["make"]): Case => ({ refusedAt: "contained", make });

/** Every way an image may be bad, with where it must stop and with which code. */
export const corruptArchives = {
  "layer-byte-flipped": importCase("IMAGE_DIGEST_MISMATCH", () => spoiltBlob("layer", flipped)),
  "config-byte-flipped": importCase("IMAGE_DIGEST_MISMATCH", () => spoiltBlob("config", flipped)),
  "manifest-byte-flipped": importCase("IMAGE_DIGEST_MISMATCH", () => spoiltBlob("manifest", flipped)),
  "layer-missing": importCase("IMAGE_INVALID", () => spoiltBlob("layer", () => undefined)),
  "diff-id-wrong": importCase("IMAGE_DIGEST_MISMATCH", () =>
    archive(honest, { diffIds: [`sha256:${"0".repeat(64)}`] }),
  ),
  "diff-id-missing": importCase("IMAGE_INVALID", () => archive(honest, { diffIds: [] })),
  "other-architecture": importCase("IMAGE_INVALID", () =>
    archive(honest, { platform: { os: "linux", architecture: "arm64" } }),
  ),
  truncated: importCase("IMAGE_INVALID", () => archive(honest).subarray(0, 3000)),
  "no-archive": importCase("IMAGE_INVALID", () => Buffer.from("this is no archive\n".repeat(100))),
  empty: importCase("IMAGE_INVALID", () => Buffer.alloc(0)),
  "outer-name-escapes": importCase("IMAGE_INVALID", () =>
    Buffer.concat([tarEntry({ name: "../../escaped" }, "x"), archive(honest)]),
  ),
  "layer-no-tar": unpackCase(() => archive(Buffer.from("this is no tar\n".repeat(100)))),
  "parent-traversal": unpackCase(({ outside }) =>
    archive(tar([{ name: `../../../../../../..${outside}/escaped` }, "x"])),
  ),
  "hard-link-escape": unpackCase(({ outside }) =>
    archive(tar([{ name: "stolen", type: "1", linkname: `${outside}/secret` }])),
  ),
  "hard-link-traversal": unpackCase(({ outside }) =>
    archive(tar([{ name: "stolen", type: "1", linkname: `../../../../../../..${outside}/secret` }])),
  ),
  "whiteout-escape": unpackCase(() => archive(tar([{ name: "etc/.wh..." }]))),
  "symlink-loop": unpackCase(() => archive(tar(link("a", "b"), link("b", "a"), [{ name: "a/x" }, "x"]))),
  "absolute-name": contained(({ outside }) => archive(tar([{ name: `${outside}/escaped` }, "x"]))),
  "symlink-then-file": contained(({ outside }) => archive(tar(link("out", outside), [{ name: "out/escaped" }, "x"]))),
  "symlink-up-then-file": contained(({ outside }) =>
    archive(tar(link("out", `../../../../../../../..${outside}`), [{ name: "out/escaped" }, "x"])),
  ),
  "file-over-symlink": contained(({ outside }) =>
    archive(tar(link("file", `${outside}/secret`), [{ name: "file" }, "overwritten"])),
  ),
  "hard-link-to-symlink": contained(({ outside }) =>
    archive(
      tar(
        link("link", `${outside}/secret`),
        [{ name: "hard", type: "1", linkname: "link" }],
        [{ name: "hard" }, "overwritten"],
      ),
    ),
  ),
  "device-nodes": contained(() =>
    archive(
      tar([{ name: "dev/sda", type: "4" }], [{ name: "dev/mem", type: "3" }], [{ name: "etc/hello" }, "hello\n"]),
    ),
  ),
} as const satisfies Record<string, Case>;

export type CorruptKind = keyof typeof corruptArchives;

/** The bytes of a bad image archive. */
export const corruptArchive = (kind: CorruptKind, options: CorruptOptions): Buffer =>
  corruptArchives[kind].make(options);
