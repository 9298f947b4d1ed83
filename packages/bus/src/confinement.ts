import type { SystemUser } from "./system-user.ts";

/** A directory that the confined program sees read-only at another path, whatever the modes of its parents are. */
export interface ReadOnlyView {
  readonly from: string;
}

/** Where the view appears: /mnt is on every system (FHS) and ours alone inside a mount namespace of its own. */
export const viewPath = "/mnt/view";

// $1 is the directory; the rest is the command. The tmpfs exists in the new mount namespace only.
const mountView = [
  "mount -t tmpfs -o mode=755,size=64k view /mnt",
  `mkdir ${viewPath}`,
  `mount --bind -- "$1" ${viewPath}`,
  `mount -o remount,bind,ro ${viewPath}`,
  "shift",
  'exec "$@"',
].join(" && ");

/**
 * Words to put before a command so that it runs as `user` with no new privileges and is killed when this process ends.
 * With a `view` it gets a mount namespace of its own where that directory is at `viewPath`, readable even when the
 * checkout lies below a 0700 home. Every word execs the next, so the process id stays the one that was spawned.
 * Without a user (we are not root) only the tie to this process remains.
 */
export const confine = (options: { user?: SystemUser; view?: ReadOnlyView }): string[] => {
  const { user, view } = options;
  const tie = ["--pdeathsig", "KILL"];
  if (user === undefined) return ["setpriv", ...tie, "--"];
  const namespace =
    view === undefined
      ? []
      : ["unshare", "--mount", "--propagation", "private", "--", "sh", "-c", mountView, "sh", view.from];
  const identity = ["--reuid", String(user.uid), "--regid", String(user.gid), "--clear-groups", "--no-new-privs"];
  return [...namespace, "setpriv", ...identity, ...tie, "--"];
};
