import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { availableVersions, type BuildImageInput } from "@bulkhead/images";
import { buildImage } from "./ready-made.ts";

const execute = promisify(execFile);

export interface ConflictImage {
  readonly path: string;
  /** what `command` prints contains this, and the other image's output does not */
  readonly version: string;
}

export interface ConflictImages {
  /** `debian`: two versions of libssl3 as Debian ships them; `built`: a library of our own, for archives with only one */
  readonly kind: "debian" | "built";
  /** prints the version of the shared library that the program was linked with at run time */
  readonly command: readonly string[];
  /** a file in /etc that both images have, with other words */
  readonly conflictingFile: "/etc/service.conf";
  readonly images: readonly [ConflictImage, ConflictImage];
}

const confOf = (which: string): BuildImageInput["files"] => ({
  "/etc/service.conf": { content: `instance = ${which}\n` },
  "/etc/motd": { content: `this is ${which}\n`, mode: 0o600 },
});

const shell = { busyboxApplets: true, cmd: ["sh"] } as const;

const opensslImage = async (version: string, which: string): Promise<ConflictImage> => ({
  path: await buildImage({
    ...shell,
    packages: [`openssl=${version}`, `libssl3=${version}`, "busybox-static"],
    files: { ...confOf(which) },
    name: `conflict:${which}`,
  }),
  version: version.split("-")[0] ?? version,
});

const builtImage = async (version: string, which: string): Promise<ConflictImage> => {
  const work = await mkdtemp(join(tmpdir(), "bulkhead-conflict-"));
  try {
    const library = join(work, "libconflict.so.1");
    const program = join(work, "show-version");
    await writeFile(join(work, "library.c"), `const char *conflict_version(void) { return "${version}"; }\n`);
    await writeFile(
      join(work, "program.c"),
      "#include <stdio.h>\nconst char *conflict_version(void);\nint main(void) { puts(conflict_version()); return 0; }\n",
    );
    // A fixed build id, so that the same version gives the same image.
    const shared = ["-shared", "-fPIC", "-Wl,-soname,libconflict.so.1", "-Wl,--build-id=none"];
    await execute("gcc", [...shared, "-o", library, join(work, "library.c")]);
    await execute("gcc", ["-Wl,--build-id=none", "-o", program, join(work, "program.c"), library]);
    const files = {
      ...confOf(which),
      "/usr/lib/x86_64-linux-gnu/libconflict.so.1": { hostPath: library, mode: 0o644 },
      "/usr/bin/show-version": { hostPath: program, mode: 0o755 },
    };
    const packages = ["libc6", "busybox-static"];
    return { path: await buildImage({ ...shell, packages, files, name: `conflict:${which}` }), version };
  } finally {
    await rm(work, { recursive: true, force: true });
  }
};

/** The problem this product starts from, with a library of our own: needs gcc. */
export const builtConflictImages = async (): Promise<ConflictImages> => ({
  kind: "built",
  command: ["/usr/bin/show-version"],
  conflictingFile: "/etc/service.conf",
  images: [await builtImage("conflict-version-1", "first"), await builtImage("conflict-version-2", "second")],
});

/**
 * Two images whose programs need conflicting files in /etc and different versions of the same shared library: two
 * releases of OpenSSL where the package lists offer them.
 */
export const conflictImages = async (): Promise<ConflictImages> => {
  const [programs, libraries] = [await availableVersions("openssl"), await availableVersions("libssl3")];
  // Revisions of one upstream version would print the same.
  const upstream = new Map<string, string>();
  for (const version of programs.filter((known) => libraries.includes(known))) {
    const name = version.split("-")[0] ?? version;
    if (!upstream.has(name)) upstream.set(name, version);
  }
  const [newer, older] = upstream.values();
  if (newer === undefined || older === undefined) return builtConflictImages();
  return {
    kind: "debian",
    command: ["/usr/bin/openssl", "version"],
    conflictingFile: "/etc/service.conf",
    images: [await opensslImage(older, "first"), await opensslImage(newer, "second")],
  };
};
