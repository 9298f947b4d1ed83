import { instanceStates } from "../instance-states.ts";
import type { Command } from "../command.ts";
import { runDefaults } from "../run-defaults.ts";
import { shared } from "./options.ts";

const many = { name: "NAME", many: true, complete: "instances" } as const;

const action = (
  name: "stop" | "start" | "restart" | "pause" | "resume" | "kill",
  summary: string,
  options: Command["options"] = [],
): Command => ({
  path: [name],
  summary,
  description: "NAME is an instance, or a workload for all its instances.",
  positionals: [many],
  options: [...options, shared.wait, shared.timeout],
  load: async () => ({ run: (await import("../commands/act.ts")).actionCommand(name) }),
});

/** Commands about workloads and their instances. */
export const workloadCommands: readonly Command[] = [
  {
    path: ["run"],
    summary: "Run an image",
    description:
      "Declares a workload and waits until its instances run. COMMAND replaces the image's own entrypoint and command. The instances are called NAME-0, NAME-1 and so on.",
    positionals: [{ name: "IMAGE", complete: "images" }],
    rest: { name: "COMMAND", after: "--" },
    options: [
      { name: "name", short: "n", value: "NAME", description: "name of the workload (default: made from the image's)" },
      {
        name: "isolation",
        value: "KIND",
        description: "container or vm (default container)",
        complete: ["container", "vm"],
      },
      {
        name: "kernel",
        value: "KERNEL",
        description: "kernel of a vm (default: the project's default kernel, or Debian's own)",
      },
      {
        name: "cpu",
        short: "c",
        value: "CPUS",
        description: `CPU it is sure to get, such as 0.5 or 500m (default ${runDefaults.cpu})`,
      },
      { name: "cpu-limit", value: "CPUS", description: "CPU it never exceeds (default: none)" },
      {
        name: "memory",
        short: "m",
        value: "SIZE",
        description: `memory limit, such as 64Mi or 1.5Gi (default ${runDefaults.memory})`,
      },
      { name: "pids", value: "COUNT", description: "most processes and threads (default 1024)" },
      { name: "disk", value: "SIZE", description: "room for what it writes to its root, such as 2Gi; at least 16Mi" },
      { name: "replicas", short: "r", value: "COUNT", description: "number of instances (default 1)" },
      shared.env,
      {
        name: "mount",
        value: "HOST:PATH[:rw]",
        multiple: true,
        description: "show a directory of the host; read-only without :rw",
      },
      {
        name: "tmpfs",
        value: "PATH:SIZE[:exec]",
        multiple: true,
        description: "a directory in memory, which counts to its memory; no programs run from it without :exec",
      },
      {
        name: "share",
        value: "SHARE[:PATH[:rw]]",
        multiple: true,
        description:
          "show a share, which other instances may see too, read-only without :rw; or be in the namespaces of SHARE",
      },
      {
        name: "network",
        value: "NETWORK",
        description: "a network of the project, host (where the host allows it) or none (default none)",
      },
      {
        name: "publish",
        short: "p",
        value: "[[ADDRESS:]HOSTPORT:]PORT[/udp]",
        multiple: true,
        description: "lead a port of the host to a port of the instance; without HOSTPORT a free one is chosen",
      },
      { name: "ingress", value: "RATE", description: "most bits per second to the instance, such as 100M" },
      { name: "egress", value: "RATE", description: "most bits per second from the instance" },
      {
        name: "restart",
        value: "POLICY",
        description: "always, on-failure, on-failure:TIMES or never",
        complete: ["always", "on-failure", "never"],
      },
      shared.user,
      shared.workdir,
      { name: "read-only", description: "make the root file system read-only" },
      {
        name: "writable",
        value: "PATH",
        multiple: true,
        description: "a place where it may change files; with any of these it writes nowhere else",
      },
      { name: "keep-entrypoint", description: "COMMAND replaces only the image's command, not its entrypoint" },
      { name: "label", value: "NAME=VALUE", multiple: true, description: "set a label" },
      { name: "stop-grace", value: "TIME", description: "time to end by itself when stopped (default 10s)" },
      { name: "dry-run", description: "show where it would run, and change nothing" },
      shared.wait,
      shared.timeout,
    ],
    examples: [
      "bulkhead run redis --name cache --memory 128Mi",
      "bulkhead run busybox --name shell -- sleep 3600",
      "bulkhead run nginx --network web --publish 8080:80",
      "bulkhead run redis --dry-run -o json",
    ],
    load: () => import("../commands/run.ts"),
  },
  {
    path: ["ps"],
    summary: "List instances",
    positionals: [{ name: "WORKLOAD", optional: true, complete: "workloads" }],
    options: [
      shared.quiet,
      {
        name: "wide",
        short: "w",
        description: "also show the engine, kernel, own CPUs and memory of virtual machines",
      },
    ],
    load: async () => ({ run: (await import("../commands/instances.ts")).ps }),
  },
  {
    path: ["inspect"],
    summary: "Show everything about an instance or a workload",
    positionals: [{ name: "NAME", complete: "instances" }],
    options: [],
    load: async () => ({ run: (await import("../commands/instances.ts")).inspect }),
  },
  {
    path: ["view"],
    summary: "Show what an instance can see and do, or what two see differently",
    description:
      "Read from the host's kernel for the running instance: mounts, namespaces and who else is in them, devices, privileges, system calls, listening sockets, limits. With two names only the differences are shown.",
    positionals: [
      { name: "NAME", complete: "instances" },
      { name: "OTHER", optional: true, complete: "instances" },
    ],
    options: [
      {
        name: "leave-running",
        description: "do not stop its first process for the moment that reading its filters takes",
      },
    ],
    examples: ["bulkhead view cache", "bulkhead view web-0 web-1"],
    load: () => import("../commands/view.ts"),
  },
  {
    path: ["logs"],
    summary: "Show what an instance wrote",
    positionals: [{ name: "NAME", complete: "instances" }],
    options: [
      { name: "follow", short: "f", description: "go on with what it writes next" },
      { name: "tail", value: "LINES", description: "only the last lines" },
      { name: "since", value: "TIME", description: "only since an instant (RFC 3339) or a duration ago, such as 10m" },
      { name: "timestamps", short: "t", description: "begin each line with its time" },
    ],
    examples: ["bulkhead logs -f cache", "bulkhead logs --tail 20 cache-0"],
    load: () => import("../commands/logs.ts"),
  },
  {
    path: ["exec"],
    summary: "Run a command in an instance",
    description:
      "Ends with the command's own exit code (128 + signal when a signal ended it), or 125 when it could not be started.",
    positionals: [{ name: "NAME", complete: "instances" }],
    rest: { name: "COMMAND", after: "positionals" },
    options: [
      { name: "interactive", short: "i", description: "pass standard input on" },
      { name: "tty", short: "t", description: "give the command a terminal" },
      shared.env,
      shared.user,
      shared.workdir,
    ],
    examples: ["bulkhead exec -it cache sh", "bulkhead exec cache redis-cli ping"],
    load: () => import("../commands/exec.ts"),
  },
  action("stop", "Stop instances; they stay and can be started again", [shared.grace]),
  action("start", "Start stopped instances"),
  action("restart", "Restart instances"),
  action("pause", "Freeze instances: they keep their memory and use no CPU"),
  action("resume", "Let paused instances go on"),
  action("kill", "Send a signal to an instance's first process", [
    {
      name: "signal",
      short: "s",
      value: "SIGNAL",
      description: "name or number (default KILL)",
      complete: ["KILL", "TERM", "HUP", "INT", "USR1", "USR2"],
    },
  ]),
  {
    path: ["rm"],
    summary: "Stop and remove workloads",
    positionals: [{ name: "WORKLOAD", many: true, complete: "workloads" }],
    options: [shared.grace, shared.wait, shared.timeout],
    load: () => import("../commands/rm.ts"),
  },
  {
    path: ["resize"],
    summary: "Change limits while it runs, or the number of instances",
    description:
      "Only what is named changes. `none` removes a limit. Ends with 6 when a host could not apply it; the table says why.",
    positionals: [{ name: "WORKLOAD", complete: "workloads" }],
    options: [
      { name: "cpu", short: "c", value: "CPUS", description: "CPU it is sure to get" },
      { name: "cpu-limit", value: "CPUS", description: "CPU it never exceeds, or none" },
      { name: "memory", short: "m", value: "SIZE", description: "memory limit" },
      { name: "pids", value: "COUNT", description: "most processes and threads, or none" },
      { name: "memory-reservation", value: "SIZE", description: "memory kept for it when the host is short, or none" },
      { name: "io-read", value: "SIZE", description: "bytes it may read from disk per second, or none" },
      { name: "io-write", value: "SIZE", description: "bytes it may write to disk per second, or none" },
      { name: "io-read-ops", value: "COUNT", description: "reads from disk per second, or none" },
      { name: "io-write-ops", value: "COUNT", description: "writes to disk per second, or none" },
      { name: "io-weight", value: "WEIGHT", description: "share of a busy disk, 1 to 10000, or none" },
      { name: "replicas", short: "r", value: "COUNT", description: "number of instances" },
      shared.wait,
      shared.timeout,
    ],
    examples: ["bulkhead resize cache --memory 256Mi --cpu-limit 1", "bulkhead resize web --replicas 3"],
    load: () => import("../commands/resize.ts"),
  },
  {
    path: ["wait"],
    summary: "Wait until instances are in a state",
    positionals: [many],
    options: [
      { name: "for", value: "STATE", description: "state to wait for (default running)", complete: instanceStates },
      shared.timeout,
    ],
    load: () => import("../commands/wait.ts"),
  },
];
