import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ProvidedFile } from "./oci-spec.ts";

const hostsOf = (hostname: string): string =>
  `127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\t${hostname}\n`;

/** The instance's network has a loopback and nothing else, so no name server can be reached. */
const resolvConf = "# no name server: this instance has a loopback network only\n";

/**
 * Writes /etc/hostname, /etc/hosts and /etc/resolv.conf of one run into its per-boot directory (a tmpfs: no write waits
 * for a disk). They are shown inside read-only: the files are the host's, and an instance must not fill it through them.
 */
export const writeInstanceFiles = (runDir: string, hostname: string): ProvidedFile[] =>
  [
    { name: "hostname", text: `${hostname}\n` },
    { name: "hosts", text: hostsOf(hostname) },
    { name: "resolv.conf", text: resolvConf },
  ].map(({ name, text }) => {
    const source = join(runDir, name);
    writeFileSync(source, text, { mode: 0o644 });
    return { source, destination: `/etc/${name}` };
  });
