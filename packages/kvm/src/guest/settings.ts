import type { AssignedNetwork, TemporaryDirectory } from "@bulkhead/contracts";
import type { ProcessPlan } from "@bulkhead/node";

/** What a guest is told of itself. */
export interface GuestSettings {
  readonly process: Omit<ProcessPlan, "stopSignal">;
  readonly hostname: string;
  readonly network: AssignedNetwork | undefined;
  readonly pidsMax: number;
  readonly tmpfs: readonly TemporaryDirectory[];
}

/** Disks come in sectors. */
const sectorBytes = 512;

const wordsOf = ({ args, env, cwd, user }: GuestSettings["process"]): string[] => [
  ...args.map((arg) => `arg=${arg}`),
  ...env.map((entry) => `env=${entry}`),
  `cwd=${cwd}`,
  `user=${user}`,
];

const hostsOf = (hostname: string, network: AssignedNetwork | undefined): string => {
  const own = [network?.ipv4?.address, network?.ipv6?.address].filter((address) => address !== undefined);
  const addresses = own.length === 0 ? ["127.0.1.1"] : own;
  const lines = ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback"];
  return `${[...lines, ...addresses.map((address) => `${address}\t${hostname}`)].join("\n")}\n`;
};

const encode = (words: readonly string[]): Buffer => Buffer.from(`${words.join("\0")}\0\0`);

/** The process of a command, as frames carry it. Words hold no NUL: nothing that admits them lets one through. */
export const encodeProcess = (process: GuestSettings["process"]): Buffer => encode(wordsOf(process));

/** The settings disk of native/guest/src/settings.h, in whole sectors. */
export const encodeSettings = (settings: GuestSettings): Buffer => {
  const { hostname, network, pidsMax, tmpfs, process } = settings;
  const text = encode([
    ...wordsOf(process),
    `hostname=${hostname}`,
    `hosts=${hostsOf(hostname, network)}`,
    "resolv.conf=# no name server: this instance has a loopback network only\n",
    `pids-max=${pidsMax}`,
    ...tmpfs.map(
      ({ path, sizeBytes, mode = "1777", executable = false }) =>
        `tmpfs=${sizeBytes}:${mode}:${executable ? "x" : "-"}:${path}`,
    ),
  ]);
  return Buffer.concat([text, Buffer.alloc((sectorBytes - (text.length % sectorBytes)) % sectorBytes)]);
};
