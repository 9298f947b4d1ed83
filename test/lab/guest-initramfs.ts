import { execFileSync } from "node:child_process";
import { chmodSync, copyFileSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { modulePaths, type LabKernel } from "./kernel.ts";

/** The whole user space of a guest: BusyBox, kernel modules, and what PID 1 does before it switches the machine off. */
export interface GuestProgram {
  readonly name: string;
  /** with all they depend on, inserted before anything else */
  readonly modules?: readonly string[];
  /** C sources; each becomes a static program on PATH with its name */
  readonly sources?: readonly string[];
  /** shell commands; every BusyBox applet is on PATH */
  readonly script: string;
}

const init = (script: string): string => `#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mkdir -p /proc /sys /dev /tmp
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in /modules/*; do [ -f "$module" ] && insmod "$module"; done
${script}
poweroff -f
`;

/** Writes a "newc" archive to `directory` and answers its path; BusyBox makes it, because there is no cpio. */
export const guestInitramfs = (directory: string, kernel: LabKernel, program: GuestProgram): string => {
  const root = join(directory, `${program.name}-root`);
  for (const name of ["bin", "dev", "modules"]) mkdirSync(join(root, name), { recursive: true });
  copyFileSync("/bin/busybox", join(root, "bin/busybox"));
  for (const source of program.sources ?? []) {
    const binary = join(root, "bin", basename(source, ".c"));
    execFileSync("gcc", ["-static", "-O1", "-Wall", "-Werror", "-o", binary, source], { stdio: "pipe" });
  }
  execFileSync("mknod", [join(root, "dev/console"), "c", "5", "1"]);
  for (const [index, path] of modulePaths(kernel, program.modules ?? []).entries()) {
    // The shell lists them by name.
    copyFileSync(
      join(kernel.modules, path),
      join(root, "modules", `${String(index).padStart(2, "0")}-${basename(path)}`),
    );
  }
  writeFileSync(join(root, "init"), init(program.script));
  chmodSync(join(root, "init"), 0o755);
  const archive = join(directory, program.name);
  execFileSync("sh", ["-c", `cd ${root} && find . | busybox cpio -o -H newc > ${archive}`], { stdio: "pipe" });
  rmSync(root, { recursive: true });
  return archive;
};
