import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { HostNetworks, HostPaths } from "@bulkhead/host";
import { resolvConfFile } from "@bulkhead/node";

type Paths = Pick<HostPaths, "runShares">;

/** Where the holder of a share's namespaces has its files; they are made for it and go with it. */
export const holderDirectory = ({ runShares }: Paths, shareId: string): string => join(runShares, shareId, "holder");

/** /etc/resolv.conf of those in a share's network namespace who have not connected it themselves. */
const resolvConfOf = (paths: Paths, shareId: string): string => join(holderDirectory(paths, shareId), "resolv.conf");

/** Makes a share's, for nobody has connected it; one that is there stays. Answers its path. */
export const makeResolvConf = (paths: Paths, shareId: string): string => {
  const path = resolvConfOf(paths, shareId);
  if (!existsSync(path)) writeFileSync(path, resolvConfFile(undefined), { mode: 0o644 });
  return path;
};

/**
 * Keeps these files what they must be while shares are connected and disconnected. They are written in place, because
 * running instances see them.
 */
export const keepNameServers = (paths: Paths, networks: Pick<HostNetworks, "watch">): void => {
  // What an earlier agent wrote may have become untrue.
  let connected: readonly string[] = existsSync(paths.runShares) ? readdirSync(paths.runShares) : [];
  networks.watch(({ attachments }) => {
    const wanted = new Map(connected.map((shareId) => [shareId, resolvConfFile(undefined)]));
    const now = attachments.flatMap(({ share, network }) => (share === undefined ? [] : [{ ...share, network }]));
    for (const { shareId, network } of now) wanted.set(shareId, resolvConfFile(network));
    for (const [shareId, text] of wanted) {
      const path = resolvConfOf(paths, shareId);
      // Where no holder is, the next one's file says by itself that there is none.
      if (existsSync(path) && readFileSync(path, "utf8") !== text) writeFileSync(path, text);
    }
    connected = now.map(({ shareId }) => shareId);
  });
};
