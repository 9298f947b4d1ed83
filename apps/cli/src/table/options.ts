import type { Option } from "../command.ts";
import { runDefaults } from "../run-defaults.ts";

/** Options that several commands share, written once. */
export const shared = {
  quiet: { name: "quiet", short: "q", description: "print names only" },
  wait: { name: "wait", description: "wait until it is done (the default); --no-wait returns at once" },
  timeout: {
    name: "timeout",
    value: "TIME",
    description: `how long to wait, such as 30s or 5m (default ${runDefaults.timeout})`,
  },
  grace: {
    name: "grace",
    value: "TIME",
    description: "time to end by itself before it is killed (default: the workload's)",
  },
  env: {
    name: "env",
    short: "e",
    value: "NAME=VALUE",
    multiple: true,
    description: "set an environment variable; NAME alone takes its value here",
  },
  user: { name: "user", short: "u", value: "USER[:GROUP]", description: "run as this user of the image" },
  workdir: { name: "workdir", short: "w", value: "DIRECTORY", description: "working directory in the instance" },
} as const satisfies Record<string, Option>;
