import type { Network } from "@bulkhead/contracts";
import type { Invocation } from "../command.ts";
import { printList, printNamed, printObject } from "../output.ts";
import { formatAge, parseCount } from "../quantity.ts";

const columns = (now: number) => [
  { title: "NAME", value: (row: Network) => row.name },
  { title: "IPV4", value: (row: Network) => row.ipv4Range ?? "-" },
  { title: "IPV6", value: (row: Network) => row.ipv6Range ?? "-" },
  { title: "MTU", value: (row: Network) => String(row.mtu) },
  { title: "OUTSIDE", value: (row: Network) => (row.internal ? "no" : "yes") },
  { title: "INSTANCES", value: (row: Network) => String(row.addresses) },
  { title: "AGE", value: (row: Network) => formatAge(row.createdAt, now) },
];

/** `bulkhead networks` */
export const list = async (invocation: Invocation): Promise<void> => {
  const rows = await Array.fromAsync(invocation.client().networks.list());
  await printNamed(invocation, columns(Date.now()), rows, ({ name }) => name);
};

/** `bulkhead networks inspect NETWORK` */
export const inspect = async (invocation: Invocation): Promise<void> => {
  await printObject(invocation, await invocation.client().networks.get(invocation.positionals[0] ?? ""));
};

/** `bulkhead networks create NAME` */
export const create = async (invocation: Invocation): Promise<void> => {
  const [name = ""] = invocation.positionals;
  const { options } = invocation;
  const [ipv4Range, ipv6Range, mtu] = [options.text("ipv4"), options.text("ipv6"), options.text("mtu")];
  const network = await invocation.client().networks.create({
    name,
    ...(ipv4Range === undefined ? {} : { ipv4Range }),
    ...(ipv6Range === undefined ? {} : { ipv6Range }),
    ...(mtu === undefined ? {} : { mtu: parseCount(mtu, "mtu") }),
    ...(options.flag("internal") ? { internal: true } : {}),
  });
  if (invocation.format === "table") await printList(invocation, columns(Date.now()), [network]);
  else await printObject(invocation, network);
};

/** `bulkhead networks rm NETWORK…` */
export const remove = async (invocation: Invocation): Promise<void> => {
  for (const network of invocation.positionals) {
    await invocation.client().networks.remove(network);
    invocation.say(`removed ${network}`);
  }
};
