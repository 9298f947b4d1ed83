import { spawnSync } from "node:child_process";

const mark = "--inside";

/**
 * Runs the calling program again in a network and a mount namespace of its own, and ends with it: bridges, rules, settings
 * and what network plugins keep in /var/lib/cni never are this machine's. Returns inside only.
 */
export const onOwnMachine = (): void => {
  if (process.argv.includes(mark)) return;
  const prepare =
    'ip link set lo up && mkdir -p /run/netns /var/lib/cni && mount -t tmpfs none /var/lib/cni && exec "$@"';
  const command = [process.execPath, ...process.argv.slice(1), mark];
  const { status } = spawnSync("unshare", ["--net", "--mount", "sh", "-c", prepare, "sh", ...command], {
    stdio: "inherit",
  });
  process.exit(status ?? 1);
};
