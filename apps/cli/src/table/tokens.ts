import type { Command } from "../command.ts";
import { shared } from "./options.ts";

/** Commands about who may do what. */
export const tokenCommands: readonly Command[] = [
  {
    path: ["tokens"],
    summary: "List tokens, without their secrets",
    positionals: [],
    options: [{ ...shared.quiet, description: "print ids only" }],
    load: async () => ({ run: (await import("../commands/tokens.ts")).list }),
  },
  {
    path: ["tokens", "create"],
    summary: "Make a token, and print its secret",
    description:
      "NAME is for people: who or what uses it. The secret is all there is on standard output, and is not shown again. An editor changes and a viewer reads one project, an admin does everything, and with join a machine becomes a host and nothing else.",
    positionals: [{ name: "NAME" }],
    options: [
      {
        name: "role",
        value: "ROLE",
        description: "admin, editor, viewer or join",
        complete: ["admin", "editor", "viewer", "join"],
      },
    ],
    examples: [
      "bulkhead tokens create 'new hosts' --role join > join-token",
      "bulkhead tokens create ci --role editor --project web | bulkhead context set web --url http://127.0.0.1:7480 --token-file -",
    ],
    load: async () => ({ run: (await import("../commands/tokens.ts")).create }),
  },
  {
    path: ["tokens", "revoke"],
    summary: "Make tokens useless, at once",
    positionals: [{ name: "TOKEN", many: true }],
    options: [],
    load: async () => ({ run: (await import("../commands/tokens.ts")).revoke }),
  },
];
