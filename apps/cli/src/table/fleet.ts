import type { Command } from "../command.ts";
import { pullTimeout } from "../run-defaults.ts";
import { shared } from "./options.ts";

const host = { name: "HOST", complete: "hosts" } as const;

/** Commands about images, hosts and what happens in the fleet. */
export const fleetCommands: readonly Command[] = [
  {
    path: ["images"],
    summary: "List images",
    positionals: [],
    options: [{ ...shared.quiet, description: "print digests only" }],
    load: async () => ({ run: (await import("../commands/images.ts")).list }),
  },
  {
    path: ["images", "import"],
    summary: "Import an OCI layout or a docker archive",
    description: "FILE is a tar archive, compressed or not; - reads standard input.",
    positionals: [{ name: "FILE", complete: "files" }],
    options: [
      {
        name: "name",
        short: "n",
        value: "NAME[:TAG]",
        description: "name to run it by (default: made from the file's)",
      },
    ],
    examples: [
      "bulkhead images import redis.tar --name redis",
      "skopeo copy docker://… oci-archive:/dev/stdout | bulkhead images import - --name app:1",
    ],
    load: async () => ({ run: (await import("../commands/images.ts")).importImage }),
  },
  {
    path: ["images", "pull"],
    summary: "Fetch images from a registry",
    description:
      "REFERENCE is [registry/]repository[:tag][@sha256:…]; without a registry Docker's is meant. The scheduler fetches and verifies the image; what has arrived is kept when a pull fails. Ctrl-C stops watching, not the pull.",
    positionals: [{ name: "REFERENCE", many: true }],
    options: [
      { name: "name", short: "n", value: "NAME[:TAG]", description: "name to run it by (default: the reference)" },
      shared.wait,
      { ...shared.timeout, description: `how long to wait, such as 30s or 5m (default ${pullTimeout})` },
    ],
    examples: ["bulkhead images pull redis:7", "bulkhead images pull registry.example:5000/team/app:1 --name app:1"],
    load: () => import("../commands/pull-image.ts"),
  },
  {
    path: ["images", "build"],
    summary: "Build an image from Debian packages",
    description:
      "Packages come from the machine's own apt sources, with the libraries they need. Everything after `--` is the command the image runs.",
    positionals: [{ name: "PACKAGE", many: true }],
    rest: { name: "COMMAND", after: "--" },
    options: [
      {
        name: "file",
        short: "f",
        value: "FILE",
        description: "archive to write (default: the first package's name with .tar)",
        complete: "files",
      },
    ],
    examples: [
      "bulkhead images build redis-server busybox-static -f redis.tar -- redis-server --port 0 --unixsocket /tmp/redis.sock",
    ],
    local: true,
    load: () => import("../commands/build-image.ts"),
  },
  {
    path: ["images", "inspect"],
    summary: "Show everything about an image",
    positionals: [{ name: "IMAGE", complete: "images" }],
    options: [],
    load: async () => ({ run: (await import("../commands/images.ts")).inspect }),
  },
  {
    path: ["images", "rm"],
    summary: "Remove images",
    positionals: [{ name: "IMAGE", many: true, complete: "images" }],
    options: [],
    load: async () => ({ run: (await import("../commands/images.ts")).remove }),
  },
  {
    path: ["networks"],
    summary: "List networks",
    positionals: [],
    options: [shared.quiet],
    load: async () => ({ run: (await import("../commands/networks.ts")).list }),
  },
  {
    path: ["networks", "create"],
    summary: "Create a network",
    description: "Without a range, a free one of each family is chosen. No two networks of a fleet may overlap.",
    positionals: [{ name: "NAME" }],
    options: [
      { name: "ipv4", value: "RANGE", description: "IPv4 range, such as 10.7.0.0/24" },
      { name: "ipv6", value: "RANGE", description: "IPv6 range, such as fd00:7::/64" },
      { name: "mtu", value: "BYTES", description: "largest packet (default 1500)" },
      { name: "internal", description: "its instances reach each other and nothing outside" },
    ],
    examples: ["bulkhead networks create web", "bulkhead networks create backend --ipv4 10.7.0.0/24 --internal"],
    load: async () => ({ run: (await import("../commands/networks.ts")).create }),
  },
  {
    path: ["networks", "inspect"],
    summary: "Show everything about a network",
    positionals: [{ name: "NETWORK" }],
    options: [],
    load: async () => ({ run: (await import("../commands/networks.ts")).inspect }),
  },
  {
    path: ["networks", "rm"],
    summary: "Remove networks that no workload uses",
    positionals: [{ name: "NETWORK", many: true }],
    options: [],
    load: async () => ({ run: (await import("../commands/networks.ts")).remove }),
  },
  {
    path: ["hosts"],
    summary: "List hosts",
    positionals: [],
    options: [shared.quiet],
    load: async () => ({ run: (await import("../commands/hosts.ts")).list }),
  },
  {
    path: ["hosts", "inspect"],
    summary: "Show everything about a host",
    positionals: [host],
    options: [],
    load: async () => ({ run: (await import("../commands/hosts.ts")).inspect }),
  },
  {
    path: ["hosts", "unknown"],
    summary: "List instances that run on hosts and that the fleet does not know",
    description:
      "They are what a lost or restored database has forgotten. They keep running until somebody decides: `hosts end-unknown` ends one.",
    positionals: [{ ...host, optional: true }],
    options: [],
    load: async () => ({ run: (await import("../commands/unknown-instances.ts")).list }),
  },
  {
    path: ["hosts", "end-unknown"],
    summary: "End instances that the fleet does not know",
    positionals: [host, { name: "INSTANCE", many: true }],
    options: [{ ...shared.grace, description: "time to end by itself before it is killed (default 10s)" }],
    load: async () => ({ run: (await import("../commands/unknown-instances.ts")).end }),
  },
  {
    path: ["hosts", "cordon"],
    summary: "Let hosts take no new instances",
    positionals: [{ ...host, many: true }],
    options: [],
    load: async () => ({ run: (await import("../commands/hosts.ts")).cordonCommand(true) }),
  },
  {
    path: ["hosts", "uncordon"],
    summary: "Let hosts take instances again",
    positionals: [{ ...host, many: true }],
    options: [],
    load: async () => ({ run: (await import("../commands/hosts.ts")).cordonCommand(false) }),
  },
  {
    path: ["events"],
    summary: "Show what happened",
    positionals: [],
    options: [
      { name: "follow", short: "f", description: "show what happens from now on" },
      { name: "since", value: "ID", description: "start after this event" },
      { name: "type", value: "TYPE", multiple: true, description: "only events of this type, such as instance.state" },
    ],
    load: () => import("../commands/events.ts"),
  },
];
