import type { AssignedNetwork } from "@bulkhead/contracts";

/** Content of an instance's /etc/hosts, whatever isolates it. */
export const hostsFile = (hostname: string, network: AssignedNetwork | undefined): string => {
  const own = [network?.ipv4?.address, network?.ipv6?.address].filter((address) => address !== undefined);
  const addresses = own.length === 0 ? ["127.0.1.1"] : own;
  const lines = ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback"];
  return `${[...lines, ...addresses.map((address) => `${address}\t${hostname}`)].join("\n")}\n`;
};

/** Of its /etc/resolv.conf. An agent answers on every gateway; without a network no name server can be reached. */
export const resolvConfFile = (network: AssignedNetwork | undefined): string => {
  const servers = [network?.ipv4?.gateway, network?.ipv6?.gateway].filter((address) => address !== undefined);
  if (servers.length === 0) return "# no name server: this instance has a loopback network only\n";
  return `${servers.map((server) => `nameserver ${server}`).join("\n")}\noptions timeout:2 attempts:3\n`;
};
