import { writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import type { AssignedNetwork } from "@bulkhead/contracts";
import { hostsFile, resolvConfFile } from "@bulkhead/node";
import type { ProvidedFile } from "./oci-spec.ts";

/** Where the provided files are shown. */
export const providedFiles = ["/etc/hostname", "/etc/hosts", "/etc/resolv.conf"] as const;

export interface InstanceFiles {
  readonly hostname: string;
  readonly network: AssignedNetwork | undefined;
  /** path of an /etc/resolv.conf that it sees instead of one of its own */
  readonly resolvConf: string | undefined;
}

/**
 * Writes /etc/hostname, /etc/hosts and /etc/resolv.conf of one run into its per-boot directory (a tmpfs: no write waits
 * for a disk). They are shown inside read-only: the files are the host's, and an instance must not fill it through them.
 */
export const writeInstanceFiles = (
  runDir: string,
  { hostname, network, resolvConf }: InstanceFiles,
): ProvidedFile[] => {
  const texts = {
    "/etc/hostname": `${hostname}\n`,
    "/etc/hosts": hostsFile(hostname, network),
    "/etc/resolv.conf": resolvConfFile(network),
  };
  return providedFiles.map((destination) => {
    if (destination === "/etc/resolv.conf" && resolvConf !== undefined) return { source: resolvConf, destination };
    const source = join(runDir, basename(destination));
    writeFileSync(source, texts[destination], { mode: 0o644 });
    return { source, destination };
  });
};
