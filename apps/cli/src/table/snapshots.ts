import type { Command } from "../command.ts";
import { shared } from "./options.ts";

const snapshot = { name: "SNAPSHOT" } as const;

/** Commands about machines that were taken to files. */
export const snapshotCommands: readonly Command[] = [
  {
    path: ["snapshots"],
    summary: "List snapshots",
    positionals: [],
    options: [{ ...shared.quiet, description: "print ids only" }],
    load: async () => ({ run: (await import("../commands/snapshots.ts")).list }),
  },
  {
    path: ["snapshots", "create"],
    summary: "Take a running VM to files of its host, and print the snapshot's id",
    description:
      "Memory, processors and disk as they are at one moment, for which the VM stands still; it goes on afterwards. Only VMs of the engine kvm can be taken.",
    positionals: [{ name: "NAME", complete: "instances" }],
    options: [shared.wait, shared.timeout],
    examples: ["bulkhead snapshots create web-0"],
    load: async () => ({ run: (await import("../commands/snapshots.ts")).create }),
  },
  {
    path: ["snapshots", "restore"],
    summary: "Run copies of a snapshot",
    description:
      "They are a workload of their own, on the snapshot's host. Each goes on where the VM was, with a name, addresses and randomness of its own; one that runs again later boots, on its own disk.",
    positionals: [snapshot],
    options: [
      { name: "copies", short: "c", value: "COUNT", description: "number of instances (default 1)" },
      {
        name: "name",
        short: "n",
        value: "NAME",
        description: "name of the workload (default: made from the snapshot's)",
      },
      shared.wait,
      shared.timeout,
    ],
    examples: ["bulkhead snapshots restore 0198c0de-4444-7000-8000-000000000001 --copies 2 --name web-copies"],
    load: async () => ({ run: (await import("../commands/snapshots.ts")).restore }),
  },
  {
    path: ["snapshots", "verify"],
    summary: "Have the host read all files of a snapshot",
    description: "Fails when one is not what was written; the snapshot is `corrupt` then, and not restored any more.",
    positionals: [snapshot],
    options: [shared.wait, shared.timeout],
    load: async () => ({ run: (await import("../commands/snapshots.ts")).verify }),
  },
  {
    path: ["snapshots", "inspect"],
    summary: "Show everything about a snapshot",
    positionals: [snapshot],
    options: [],
    load: async () => ({ run: (await import("../commands/snapshots.ts")).inspect }),
  },
  {
    path: ["snapshots", "rm"],
    summary: "Remove snapshots that no workload was restored from, and their files",
    positionals: [{ ...snapshot, many: true }],
    options: [],
    load: async () => ({ run: (await import("../commands/snapshots.ts")).remove }),
  },
];
