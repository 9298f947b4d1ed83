/** One file: its bytes, or a host file whose bytes are copied. Owner 0:0 unless given; mode 0644 unless given. */
export type BuildFile = ({ readonly content: string | Uint8Array } | { readonly hostPath: string }) & {
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
};

export interface BuildLayer {
  /** Debian packages, `name` or `name=version`; the libraries they need follow */
  readonly packages?: readonly string[];
  /** by absolute path in the image */
  readonly files?: Readonly<Record<string, BuildFile>>;
  readonly directories?: Readonly<
    Record<string, { readonly mode?: number; readonly uid?: number; readonly gid?: number }>
  >;
  /** symbolic links: path to target */
  readonly links?: Readonly<Record<string, string>>;
  /** paths of lower layers that this layer hides */
  readonly remove?: readonly string[];
  /** links for every applet of the busybox in this layer, unless a program of that name is there */
  readonly busyboxApplets?: boolean;
}

/** The image's first layer and its configuration; `layers` are put on top, lowest first. */
export interface BuildImageInput extends BuildLayer {
  readonly layers?: readonly BuildLayer[];
  /** adds to /etc/passwd and /etc/group, each with a group of its own: name to id */
  readonly users?: Readonly<Record<string, number>>;
  readonly entrypoint?: readonly string[];
  readonly cmd?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly user?: string;
  readonly workdir?: string;
  readonly stopSignal?: string;
  readonly labels?: Readonly<Record<string, string>>;
  /** `name:tag` written into the archive */
  readonly name?: string;
}

export interface BuildImageOptions {
  /** finished images, by what they are made of; may be shared and deleted at any time */
  readonly cacheDir: string;
  /** default gzip, which every tool reads */
  readonly compression?: "none" | "gzip" | "zstd";
  /** one line for each step that takes time */
  readonly onProgress?: (line: string) => void;
}
