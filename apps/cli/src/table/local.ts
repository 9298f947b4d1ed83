import type { Command } from "../command.ts";

/** Commands about this machine: the one-host fleet, the known APIs, the shell. */
export const localCommands: readonly Command[] = [
  {
    path: ["up"],
    summary: "Start a one-host fleet on this machine and supervise it",
    description:
      "Needs root. Runs in the foreground until Ctrl-C; instances keep running and are adopted by the next `up`. State lies in BULKHEAD_STATE_DIR (default /var/lib/bulkhead). DATABASE_URL uses an external Postgres, BULKHEAD_NATS_URL an external NATS.",
    positionals: [],
    options: [{ name: "bare", description: "do not show the first workload on the first start" }],
    local: true,
    load: () => import("../up/up.ts"),
  },
  {
    path: ["down"],
    summary: "Stop what `up` started on this machine",
    description:
      "Needs root. Ends a running `up` and what a killed one left. With --purge it also stops every instance of this host and removes the state, the context, the link and the system users.",
    positionals: [],
    options: [
      { name: "purge", description: "stop the instances too and remove everything `up` made" },
      {
        name: "keep-users",
        description: "with --purge: leave the system users, which other fleets of this machine share",
      },
      { name: "yes", short: "y", description: "do not ask before a purge" },
    ],
    local: true,
    load: () => import("../up/down.ts"),
  },
  {
    path: ["context"],
    summary: "List the APIs this command knows",
    positionals: [],
    options: [],
    local: true,
    load: async () => ({ run: (await import("../commands/context.ts")).list }),
  },
  {
    path: ["context", "set"],
    summary: "Add or change a context, and use it",
    positionals: [{ name: "NAME", complete: "contexts" }],
    options: [
      { name: "url", value: "URL", description: "address of the API" },
      {
        name: "token-file",
        value: "FILE",
        description: "file that holds the token; - reads standard input",
        complete: "files",
      },
    ],
    examples: ["bulkhead context set office --url https://fleet.example:7480 --token-file token"],
    local: true,
    load: async () => ({ run: (await import("../commands/context.ts")).set }),
  },
  {
    path: ["context", "use"],
    summary: "Use another context from now on",
    positionals: [{ name: "NAME", complete: "contexts" }],
    options: [],
    local: true,
    load: async () => ({ run: (await import("../commands/context.ts")).use }),
  },
  {
    path: ["context", "rm"],
    summary: "Forget a context",
    positionals: [{ name: "NAME", complete: "contexts" }],
    options: [],
    local: true,
    load: async () => ({ run: (await import("../commands/context.ts")).remove }),
  },
  {
    path: ["registry", "login"],
    summary: "Give this machine's scheduler the credentials of a registry",
    description:
      "Needs root. The password is kept in the state directory, readable by the scheduler alone, and used from the next pull on. A scheduler elsewhere reads the file named by BULKHEAD_REGISTRY_AUTH_FILE, in the format of Docker's config.json.",
    positionals: [{ name: "REGISTRY" }],
    options: [
      { name: "username", short: "u", value: "NAME", description: "who we are to the registry" },
      {
        name: "password-file",
        value: "FILE",
        description: "file that holds the password or token; - reads standard input",
        complete: "files",
      },
    ],
    examples: ["bulkhead registry login registry.example:5000 -u ann --password-file - < password"],
    local: true,
    load: async () => ({ run: (await import("../commands/registry.ts")).login }),
  },
  {
    path: ["registry", "logout"],
    summary: "Forget the credentials of a registry",
    positionals: [{ name: "REGISTRY" }],
    options: [],
    local: true,
    load: async () => ({ run: (await import("../commands/registry.ts")).logout }),
  },
  {
    path: ["oci"],
    summary: "The OCI runtime command line that container engines drive",
    description:
      "Becomes the native program `bulkhead-oci` with the arguments that follow: create, start, run, exec, kill, delete and the others of `bulkhead oci --help`. Engines are given the native file itself. Needs root.",
    positionals: [],
    rest: { name: "ARGUMENT", after: "path" },
    options: [],
    examples: ["bulkhead oci run --bundle . one", "bulkhead oci list --format json"],
    local: true,
    load: () => import("../commands/oci.ts"),
  },
  {
    path: ["completion"],
    summary: "Print the shell's completion script",
    positionals: [{ name: "SHELL", complete: ["bash", "zsh", "fish"] }],
    options: [],
    examples: [
      "source <(bulkhead completion bash)",
      "bulkhead completion fish > ~/.config/fish/completions/bulkhead.fish",
    ],
    local: true,
    load: async () => ({ run: (await import("../commands/completion.ts")).script }),
  },
  {
    path: ["__complete"],
    summary: "Print names for the shell's completion",
    positionals: [{ name: "KIND" }],
    options: [],
    local: true,
    hidden: true,
    load: async () => ({ run: (await import("../commands/completion.ts")).names }),
  },
  {
    path: ["version"],
    summary: "Print the versions of this command and of the API",
    positionals: [],
    options: [],
    local: true,
    load: () => import("../commands/version.ts"),
  },
];
