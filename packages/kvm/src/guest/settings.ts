import type { AssignedNetwork, AssignedShare, TemporaryDirectory } from "@bulkhead/contracts";
import { linkLocalOf } from "@bulkhead/host";
import type { SharedDirectory } from "../shared-directories.ts";
import { hostsFile, resolvConfFile, type ProcessPlan } from "@bulkhead/node";

/** What a guest is told of itself. */
export interface GuestSettings {
  readonly process: Omit<ProcessPlan, "stopSignal">;
  readonly hostname: string;
  readonly network: AssignedNetwork | undefined;
  readonly pidsMax: number;
  readonly tmpfs: readonly TemporaryDirectory[];
  readonly shared: readonly SharedDirectory[];
  /** shares of sockets; the guest knows each by its place in this list */
  readonly sockets: readonly AssignedShare[];
}

/** Disks come in sectors. */
const sectorBytes = 512;

const wordsOf = ({ args, env, cwd, user }: GuestSettings["process"]): string[] => [
  ...args.map((arg) => `arg=${arg}`),
  ...env.map((entry) => `env=${entry}`),
  `cwd=${cwd}`,
  `user=${user}`,
];

const networkWords = ({ mac, mtu, ipv4, ipv6 }: AssignedNetwork): string[] => [
  `mac=${mac}`,
  `mtu=${mtu}`,
  // A router asks for its neighbours from a link-local address, and the host knows this one as the card's.
  ...(ipv6 === null ? [] : [`address=${linkLocalOf(mac)}/64`]),
  ...[ipv4, ipv6].flatMap((each) => (each === null ? [] : [`address=${each.address}/${each.prefix}`])),
  ...[ipv4, ipv6].flatMap((each) => (each === null ? [] : [`gateway=${each.gateway}`])),
];

/** What a copy of a machine is told of itself. */
export interface GuestIdentity {
  readonly hostname: string;
  readonly network: AssignedNetwork | undefined;
  /** for /etc/machine-id: 32 hex digits */
  readonly machineId: string;
}

const identityWords = ({ hostname, network }: Pick<GuestIdentity, "hostname" | "network">): string[] => [
  `hostname=${hostname}`,
  `hosts=${hostsFile(hostname, network)}`,
  `resolv.conf=${resolvConfFile(network)}`,
  ...(network === undefined ? [] : networkWords(network)),
];

const encode = (words: readonly string[]): Buffer => Buffer.from(`${words.join("\0")}\0\0`);

/** The process of a command, as frames carry it. Words hold no NUL: nothing that admits them lets one through. */
export const encodeProcess = (process: GuestSettings["process"]): Buffer => encode(wordsOf(process));

/** The words of the frame that makes a copy somebody else: those of native/guest/src/settings.h, without a process. */
export const encodeIdentity = (identity: GuestIdentity): Buffer =>
  encode([...identityWords(identity), `machine-id=${identity.machineId}`]);

/** The settings disk of native/guest/src/settings.h, in whole sectors. */
export const encodeSettings = (settings: GuestSettings): Buffer => {
  const { hostname, network, pidsMax, tmpfs, shared, sockets, process } = settings;
  const text = encode([
    ...wordsOf(process),
    ...identityWords({ hostname, network }),
    `pids-max=${pidsMax}`,
    ...tmpfs.map(
      ({ path, sizeBytes, mode = "1777", executable = false }) =>
        `tmpfs=${sizeBytes}:${mode}:${executable ? "x" : "-"}:${path}`,
    ),
    ...shared.map(({ tag, readOnly, path }) => `share=${tag}:${readOnly ? "ro" : "rw"}:${path}`),
    ...sockets.map(({ mode, owner, readOnly, path }) => {
      return `sockets=${mode}:${owner.uid}:${owner.gid}:${readOnly ? "ro" : "rw"}:${path}`;
    }),
  ]);
  return Buffer.concat([text, Buffer.alloc((sectorBytes - (text.length % sectorBytes)) % sectorBytes)]);
};
