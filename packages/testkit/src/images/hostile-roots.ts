import { busyboxImage } from "./ready-made.ts";

/** A directory of the image that a runtime mounts on or writes to. */
export type MountedDirectory = "/dev" | "/proc" | "/sys" | "/etc";

/**
 * A runnable busybox image in which a directory that runtimes mount on is a symbolic link to a host path: starting it
 * must be refused, or stay inside.
 */
export const symlinkedDirectoryImage = (directory: MountedDirectory, target: string): Promise<string> =>
  busyboxImage({
    layers: [{ remove: [directory] }, { links: { [directory]: target } }],
    name: `symlinked-${directory.slice(1)}:latest`,
  });

/** A busybox image whose programs cannot run: what each must be reported as is said by its name. */
export const unrunnableImage = (): Promise<string> =>
  busyboxImage({
    files: {
      "/bin/not-executable": { content: "#!/bin/sh\nexit 0\n", mode: 0o644 },
      // An ELF header for AArch64 (e_machine 183) and nothing more.
      "/bin/wrong-architecture": {
        content: Buffer.concat([
          Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 183, 0]),
          Buffer.alloc(108),
        ]),
        mode: 0o755,
      },
      "/bin/missing-interpreter": { content: "#!/no/such/interpreter\n", mode: 0o755 },
      "/bin/empty": { content: "", mode: 0o755 },
    },
    name: "unrunnable:latest",
  });
