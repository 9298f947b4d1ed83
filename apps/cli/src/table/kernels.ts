import type { Command } from "../command.ts";
import { shared } from "./options.ts";

const kernel = { name: "KERNEL" } as const;

/** Commands about the kernels of virtual machines. */
export const kernelCommands: readonly Command[] = [
  {
    path: ["kernels"],
    summary: "List kernels that virtual machines can run on",
    description:
      "Beside these there is Debian's own for virtual machines, which hosts fetch themselves: a machine that names none runs on the project's default kernel, or else on that one.",
    positionals: [],
    options: [shared.quiet],
    load: async () => ({ run: (await import("../commands/kernels.ts")).list }),
  },
  {
    path: ["kernels", "add"],
    summary: "Register the kernel that an image holds",
    description:
      "The image is one of the project, with one layer: boot/vmlinuz-RELEASE (bzImage or ELF) and lib/modules/RELEASE as depmod leaves it. `kernels build` makes one of a Debian package.",
    positionals: [{ name: "NAME" }, { name: "IMAGE" }],
    options: [{ name: "default", description: "machines that name no kernel get this one from now on" }],
    examples: [
      "bulkhead kernels build linux-image-6.1.0-50-cloud-amd64 -f kernel.tar",
      "bulkhead images import kernel.tar --name kernel:50",
      "bulkhead kernels add debian-50 kernel:50",
      "bulkhead run redis --isolation vm --kernel debian-50",
    ],
    load: async () => ({ run: (await import("../commands/kernels.ts")).add }),
  },
  {
    path: ["kernels", "build"],
    summary: "Build the image of a kernel from its Debian package",
    description: "The package comes from the machine's own apt sources; nothing of it is run. Needs root.",
    positionals: [{ name: "PACKAGE" }],
    options: [
      {
        name: "file",
        short: "f",
        value: "FILE",
        description: "archive to write (default: the package's name with .tar)",
        complete: "files",
      },
    ],
    local: true,
    load: async () => ({ run: (await import("../commands/kernels.ts")).build }),
  },
  {
    path: ["kernels", "inspect"],
    summary: "Show everything about a kernel",
    positionals: [kernel],
    options: [],
    load: async () => ({ run: (await import("../commands/kernels.ts")).inspect }),
  },
  {
    path: ["kernels", "rm"],
    summary: "Forget kernels that no workload runs on; their images stay",
    positionals: [{ ...kernel, many: true }],
    options: [],
    load: async () => ({ run: (await import("../commands/kernels.ts")).remove }),
  },
];
