import type { Command } from "../command.ts";
import { shared } from "./options.ts";

const share = { name: "SHARE" } as const;
const instance = { name: "NAME", complete: "instances" } as const;

/** Commands about what instances share. */
export const shareCommands: readonly Command[] = [
  {
    path: ["shares"],
    summary: "List shares and who uses them",
    positionals: [],
    options: [shared.quiet],
    load: async () => ({ run: (await import("../commands/shares.ts")).list }),
  },
  {
    path: ["shares", "create"],
    summary: "Make a directory, memory, sockets or namespaces to share",
    description:
      "It is made on the host where its first user runs, and its other users run there too. A directory with a size is a volume: a file system of its own that ends there. Instances are in namespaces that they share from their start to their end: name the share when they are run. A VM sees directories and sockets.",
    positionals: [share],
    options: [
      {
        name: "kind",
        short: "k",
        value: "KIND",
        description: "directory, shared-memory, socket-directory or namespace (default directory)",
        complete: ["directory", "shared-memory", "socket-directory", "namespace"],
      },
      {
        name: "namespace",
        value: "TYPE",
        multiple: true,
        description:
          "what users of a namespace share have in common: network (which one of them may connect with `run --network`), ipc, pid or uts (repeatable)",
        complete: ["network", "ipc", "pid", "uts"],
      },
      {
        name: "size",
        value: "SIZE",
        description: "most it can hold (shared memory, and /dev/shm of a shared ipc namespace: default 64Mi)",
      },
      { name: "owner", value: "UID[:GID]", description: "owner as seen inside instances (default 0:0)" },
      { name: "mode", value: "MODE", description: "permissions (default 0755; shared memory and sockets 1777)" },
      { name: "transient", description: "remove it, data and all, when its last user is gone" },
    ],
    examples: [
      "bulkhead shares create data",
      "bulkhead shares create volume --size 10Gi --owner 999",
      "bulkhead shares create ring --kind shared-memory --size 256Mi",
      "bulkhead shares create pod --namespace network --namespace ipc",
    ],
    load: async () => ({ run: (await import("../commands/shares.ts")).create }),
  },
  {
    path: ["shares", "inspect"],
    summary: "Show everything about a share",
    positionals: [share],
    options: [],
    load: async () => ({ run: (await import("../commands/shares.ts")).inspect }),
  },
  {
    path: ["shares", "graph"],
    summary: "Show who sees what",
    positionals: [],
    options: [],
    load: async () => ({ run: (await import("../commands/shares.ts")).graph }),
  },
  {
    path: ["shares", "attach"],
    summary: "Let an instance see a share, at once when it runs",
    description:
      "Read-only without :rw. Ends with 6 when its host has not confirmed it yet. A VM is given what it sees when it starts.",
    positionals: [instance, { name: "SHARE:/PATH[:rw]" }],
    options: [],
    examples: ["bulkhead shares attach web data:/srv/data", "bulkhead shares attach web ring:/dev/shm:rw"],
    load: async () => ({ run: (await import("../commands/shares.ts")).attach }),
  },
  {
    path: ["shares", "detach"],
    summary: "Take a share away from an instance, at once when it runs",
    description:
      "Files that are open stay usable to a container's programs that have them open, and that is said; a VM's programs that have some open are ended.",
    positionals: [instance, share],
    options: [],
    load: async () => ({ run: (await import("../commands/shares.ts")).detach }),
  },
  {
    path: ["shares", "rm"],
    summary: "Remove shares that nobody uses, and their data",
    positionals: [{ ...share, many: true }],
    options: [],
    load: async () => ({ run: (await import("../commands/shares.ts")).remove }),
  },
];
