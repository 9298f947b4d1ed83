import { writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import type { AssignedNetwork } from "@bulkhead/contracts";
import type { ProvidedFile } from "./oci-spec.ts";

const hostsOf = (hostname: string, network: AssignedNetwork | undefined): string => {
  const own = [network?.ipv4?.address, network?.ipv6?.address].filter((address) => address !== undefined);
  const addresses = own.length === 0 ? ["127.0.1.1"] : own;
  const lines = ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback"];
  return `${[...lines, ...addresses.map((address) => `${address}\t${hostname}`)].join("\n")}\n`;
};

/** The agent answers on every gateway; without a network of ours no name server can be reached. */
const resolvConfOf = (network: AssignedNetwork | undefined): string => {
  const servers = [network?.ipv4?.gateway, network?.ipv6?.gateway].filter((address) => address !== undefined);
  if (servers.length === 0) return "# no name server: this instance has a loopback network only\n";
  return `${servers.map((server) => `nameserver ${server}`).join("\n")}\noptions timeout:2 attempts:3\n`;
};

/** Where the provided files are shown. */
export const providedFiles = ["/etc/hostname", "/etc/hosts", "/etc/resolv.conf"] as const;

/**
 * Writes /etc/hostname, /etc/hosts and /etc/resolv.conf of one run into its per-boot directory (a tmpfs: no write waits
 * for a disk). They are shown inside read-only: the files are the host's, and an instance must not fill it through them.
 */
export const writeInstanceFiles = (
  runDir: string,
  hostname: string,
  network: AssignedNetwork | undefined,
): ProvidedFile[] => {
  const texts = {
    "/etc/hostname": `${hostname}\n`,
    "/etc/hosts": hostsOf(hostname, network),
    "/etc/resolv.conf": resolvConfOf(network),
  };
  return providedFiles.map((destination) => {
    const source = join(runDir, basename(destination));
    writeFileSync(source, texts[destination], { mode: 0o644 });
    return { source, destination };
  });
};
